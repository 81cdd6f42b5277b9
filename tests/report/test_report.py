"""The report: what a reader opens, in a browser where there is one."""

from __future__ import annotations

import re
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
    compare(models, images, output=place, gallery=20, command=COMMAND, fractions=FRACTIONS)
    return place


@pytest.fixture(scope="module")
def html(folder) -> str:
    return (folder / "report.html").read_text()


@pytest.fixture
def page(open_page, folder):
    page = open_page(folder / "report.html")
    page.eval_on_selector_all("details", "all => all.forEach(one => (one.open = true))")
    return page


def shown(page) -> list[str]:
    return page.eval_on_selector_all("#cards > li", "cards => cards.map(card => card.dataset.id)")


def data(page, key: str) -> list[str]:
    return page.eval_on_selector_all("#cards > li", f"cards => cards.map(card => card.dataset.{key})")


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
    strips, gallery = html[: html.index('id="scores"')], html[html.index('id="gallery"') :]
    # A panel's photo under its map is the card's photo again; a strip is a button that says what it enlarges.
    for part, count, again in ((strips, 6, 4), (gallery, 20, 3)):
        pictures = re.findall(r"<img[^>]*>", part)
        assert len(pictures) == count * (1 + 2 * 3)
        assert len([picture for picture in pictures if 'alt=""' in picture]) == count * again
    assert strips.count('aria-label="Enlarge test-') == 6
    pictures = re.findall(r"<img[^>]*>", html)
    assert all('alt="' in picture for picture in pictures)


def test_it_says_whether_the_tests_agree(html):
    section = html[html.index('id="tests"') : html.index('id="gallery"')]
    rows = re.findall(r"<tr>\s*<th scope=\"row\">([^<]*)</th><td class=\"name\">([^<]*)</td>", section)
    assert ("Area between the curves", "Pointing game") in rows


def test_figures_and_tables_lie_beside_it(folder):
    for name in ("perturbation_curves", "agreement", "differences"):
        for suffix in ("pdf", "svg"):
            assert (folder / "figures" / f"{name}.{suffix}").stat().st_size > 1000
    for name in ("scores", "differences", "agreement", "transfer", "curves", "score_agreement", "health", "images"):
        assert (folder / "tables" / f"{name}.csv").is_file()
    for name in (
        "headlines",
        "scores-perturbation",
        "floors-segmentation",
        "differences-others-fidelity",
        "transfer",
    ):
        for suffix in ("md", "tex"):
            assert (folder / "tables" / f"{name}.{suffix}").is_file()


def test_it_states_rules_command_and_how_many_images_are_common(html, folder):
    assert "xkd-eval compare teacher" in html
    for fact in ("tie_seed", "fractions", "digest", "preprocess.mean"):
        assert fact in html
    common = re.search(r"on the ([\d,]+) images that all classify correctly", html)
    assert common is not None
    rows = (folder / "tables" / "scores.csv").read_text().splitlines()
    heads = rows[0].split(",")
    found = next(row for row in rows if "positive.auc_common" in row).split(",")
    assert found[heads.index("n_images")] == common[1]


def test_the_same_comparison_writes_the_same_bytes(folder, images, html):
    models = {"teacher": "embedded/teacher", "plain": "embedded/plain", HOSTILE: "embedded/exp_kd"}
    compare(models, images, output=folder, gallery=20, command=COMMAND, fractions=FRACTIONS)
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
    page.focus("#cards > li")
    first, second = shown(page)[:2]
    page.keyboard.press("Enter")
    assert page.inner_text("#enlarged h3").endswith(first)
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#enlarged h3").endswith(second)
    page.keyboard.press("Escape")
    assert not page.is_visible("#large")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.dataset.id") == second
    page.keyboard.press("Space")
    assert page.inner_text("#enlarged h3").endswith(second)


def test_what_is_folded_opens_by_a_link_and_on_paper(browser, folder):
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto((folder / "report.html").as_uri())
    assert page.eval_on_selector_all("details", "all => all.every(one => !one.open)")
    # The answer fills the first screen, and nothing else is on it but the heads of what is folded.
    assert page.eval_on_selector(".strips", "strips => strips.getBoundingClientRect().bottom") <= 800
    page.goto((folder / "report.html").as_uri() + "#health")
    assert page.evaluate("document.getElementById('health').open")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.eval_on_selector_all("details", "all => all.every(one => one.open)")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.eval_on_selector_all("details[open]", "all => all.map(one => one.id)") == ["health"]
    page.close()


def test_a_strip_enlarges_its_image_and_the_next_ones_follow(page):
    page.click(".strip >> nth=1")
    first = page.inner_text("#enlarged h3")
    assert first.endswith(page.get_attribute(".strip >> nth=1", "data-of"))
    assert page.eval_on_selector("#enlarged img.photo", "photo => photo.getBoundingClientRect().width") > 150
    page.click("#after")
    page.click("#before")
    assert page.inner_text("#enlarged h3") == first
    assert page.eval_on_selector_all("#enlarged .layers .photo", "all => all.every(one => one.naturalWidth > 0)")


def test_the_gallery_is_sorted_by_a_score_and_filtered_by_how_far_the_maps_are_apart(page, folder):
    page.select_option("#sort", label="worst area between the curves")
    page.select_option("#model", "1")
    place = int(page.input_value("#sort").removeprefix("score-"))
    values = [float(scores.split(";")[place].split(" ")[1]) for scores in data(page, "scores")]
    assert values == sorted(values) and len(set(values)) > 1
    page.select_option("#maps", "far")
    assert all(float(both.split(" ")[1]) < 0.3 for both in data(page, "agreements"))
    page.select_option("#maps", "near")
    near = [float(both.split(" ")[1]) for both in data(page, "agreements")]
    assert all(value > 0.7 for value in near) and page.inner_text("#shown").startswith(f"{len(near)} of 20")


def test_panels_show_the_photo_under_the_map(page):
    loaded = page.eval_on_selector_all(".layers .photo", "photos => photos.every(photo => photo.naturalWidth > 0)")
    assert loaded
    page.evaluate("document.querySelector('#controls .strength').value = 10")
    page.dispatch_event("#controls .strength", "input")
    assert page.input_value("#large .strength") == "10"
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
