"""The report: what a reader opens, in a browser where there is one."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from xkd_eval import compare, perturbation_test
from xkd_eval.datasets.embedded import EmbeddedDataset

HOSTILE = '<b>exp & "kd"</b>'
FRACTIONS = (0.1, 0.5, 0.9)
COMMAND = "xkd-eval compare teacher '<script>alert(1)</script>'"


@pytest.fixture(scope="module")
def images():
    return EmbeddedDataset("test", size=30)


@pytest.fixture(scope="module")
def folder(images, tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("report")
    models = {"teacher": "embedded/teacher", "plain": "embedded/plain", HOSTILE: "embedded/exp_kd"}
    compare(models, images, output=place, pictured=20, command=COMMAND, fractions=FRACTIONS)
    return place


@pytest.fixture(scope="module")
def html(folder) -> str:
    return (folder / "report.html").read_text()


@pytest.fixture(scope="module")
def browser():
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium is installed (apt-get install chromium)")
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser, folder):
    faults: list[str] = []
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.on("console", lambda message: faults.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: faults.append(f"error: {error}"))
    page.on(
        "request",
        lambda request: faults.append(request.url) if not request.url.startswith(("data:", "file:")) else None,
    )
    page.goto((folder / "report.html").as_uri())
    yield page
    page.close()
    assert faults == []


def shown(page) -> list[str]:
    return page.eval_on_selector_all("#cards > li:not([hidden])", "cards => cards.map(card => card.dataset.id)")


def data(page, key: str) -> list[str]:
    return page.eval_on_selector_all("#cards > li:not([hidden])", f"cards => cards.map(card => card.dataset.{key})")


def test_it_is_one_file_that_needs_no_network(html, folder):
    addresses = set(re.findall(r"""(?:src|href)=["']([^"'#][^"']*)""", html))
    assert {address.partition(":")[0] for address in addresses} <= {"data"}
    assert "@import" not in html
    assert (folder / "report.html").stat().st_size < 2_000_000


def test_names_from_data_are_escaped(html):
    assert HOSTILE not in html
    assert "&lt;b&gt;exp &amp; &#34;kd&#34;&lt;/b&gt;" in html
    assert "alert(1)</script>" not in html
    assert html.count("<script>") == 1


def test_every_image_says_what_it_shows(html):
    pictures = re.findall(r"<img[^>]*>", html)
    assert len(pictures) == 20 * (1 + 2 * 3)
    bare = [picture for picture in pictures if 'alt=""' in picture]
    # A panel's photo under its map is the card's photo again.
    assert len(bare) == 20 * 3
    assert all('alt="' in picture for picture in pictures)


def test_it_says_whether_the_tests_agree(html):
    section = html[html.index('id="tests"') : html.index('id="gallery"')]
    rows = re.findall(r"<tr>\s*<th scope=\"row\">([^<]*)</th><td class=\"name\">([^<]*)</td>", section)
    assert ("Positive AUC", "Pointing game") in rows


def test_figures_and_tables_lie_beside_it(folder):
    for name in ("perturbation_curves", "agreement", "differences"):
        for suffix in ("pdf", "svg"):
            assert (folder / "figures" / f"{name}.{suffix}").stat().st_size > 1000
    for name in ("scores", "differences", "agreement", "transfer", "curves", "score_agreement", "health"):
        for suffix in ("csv", "md", "tex"):
            assert (folder / "tables" / f"{name}.{suffix}").is_file()


def test_it_states_rules_command_and_how_many_images_are_common(html, folder):
    assert "xkd-eval compare teacher" in html
    for fact in ("tie_seed", "fractions", "digest", "preprocess.mean"):
        assert fact in html
    common = re.search(r"([\d,]+) images are classified correctly by all models", html)
    assert common is not None
    rows = (folder / "tables" / "scores.csv").read_text().splitlines()
    heads = rows[0].split(",")
    found = next(row for row in rows if "positive.auc_common" in row).split(",")
    assert found[heads.index("n_images")] == common[1]


def test_the_same_comparison_writes_the_same_bytes(folder, images, html):
    models = {"teacher": "embedded/teacher", "plain": "embedded/plain", HOSTILE: "embedded/exp_kd"}
    compare(models, images, output=folder, pictured=20, command=COMMAND, fractions=FRACTIONS)
    assert (folder / "report.html").read_text() == html


def test_run_directories_have_a_report_without_a_gallery(images, tmp_path):
    for name in ("plain", "kd"):
        perturbation_test(f"embedded/{name}", images, output=tmp_path / name, figures=False)
    compare([tmp_path / "plain", tmp_path / "kd"], output=tmp_path / "report")
    html = (tmp_path / "report" / "report.html").read_text()
    assert 'id="scores"' in html
    assert 'id="gallery"' not in html
    assert 'id="agreement"' not in html


def test_the_gallery_is_sorted_by_disagreement_class_and_error(page):
    first = [float(value) for value in data(page, "disagreement")]
    assert len(first) == 20
    assert first == sorted(first, reverse=True)
    page.select_option("#sort", "least")
    assert [float(value) for value in data(page, "disagreement")] == sorted(first)
    page.select_option("#sort", "label")
    assert data(page, "label") == sorted(data(page, "label"))
    page.select_option("#sort", "error")
    assert data(page, "error") == sorted(data(page, "error"))
    page.select_option("#sort", "most")
    page.select_option("#model", "1")
    agreements = [float(both.split(" ")[1]) for both in data(page, "agreements")]
    assert agreements == sorted(agreements)


def test_the_gallery_is_filtered_by_class_and_error(page):
    everything = shown(page)
    page.select_option("#error", "all right")
    right = shown(page)
    assert 0 < len(right) < len(everything)
    assert set(data(page, "error")) == {"all right"}
    assert page.inner_text("#shown") == f"{len(right)} of 20 images"
    label = data(page, "label")[0]
    page.select_option("#label", label)
    assert set(data(page, "label")) == {label}
    page.select_option("#error", "")
    page.select_option("#label", "")
    assert shown(page) == everything


def test_the_keyboard_reaches_and_works_the_controls(page):
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.focus("#sort")
    before = shown(page)
    page.keyboard.press("ArrowDown")
    assert page.input_value("#sort") == "least"
    assert shown(page) != before
    page.focus("#show-floors")
    assert page.is_visible("#scores tr.floor >> nth=0")
    page.keyboard.press("Space")
    assert not page.is_visible("#scores tr.floor >> nth=0")


def test_panels_show_the_photo_under_the_map(page):
    loaded = page.eval_on_selector_all(".layers .photo", "photos => photos.every(photo => photo.naturalWidth > 0)")
    assert loaded
    page.evaluate("document.getElementById('strength').value = 10")
    page.dispatch_event("#strength", "input")
    assert page.eval_on_selector("img.map", "map => getComputedStyle(map).opacity") == "0.1"


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_no_page_is_wider_than_the_screen(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.scrollingElement.scrollWidth") <= width


def test_dark_mode_changes_paper_and_ink_of_page_and_drawings(page):
    def colours() -> list[str]:
        return page.evaluate(
            "['color', 'backgroundColor'].map(name => getComputedStyle(document.body)[name])"
            ".concat(getComputedStyle(document.querySelector('.drawing [style*=\"--ink\"]')).fill)"
        )

    light = colours()
    assert light == ["rgb(26, 26, 26)", "rgb(255, 255, 255)", "rgb(26, 26, 26)"]
    page.emulate_media(color_scheme="dark")
    assert all(dark != before for dark, before in zip(colours(), light, strict=True))
