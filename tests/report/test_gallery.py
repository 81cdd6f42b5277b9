"""Every photograph of a comparison, beside its page: which files there are, and how a thousand behave in a browser."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from xkd_eval import XkdError, compare
from xkd_eval.datasets.embedded import EmbeddedDataset
from xkd_eval.report import IN_PAGE
from xkd_eval.report.gallery import ERRORS, Gallery, Panel, Picture, gallery
from xkd_eval.report.photographs import PHOTO, PHOTOGRAPHS, Beside, remove_photographs, within_page
from xkd_eval.report.write import write_comparison_page, write_report

MANY = 1000
MODELS = {"teacher": "embedded/teacher", "plain": "embedded/plain"}
OPTIONS = {"tests": ["perturbation", "agreement"], "floors": False, "fractions": (0.5,)}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("gallery")


@pytest.fixture(scope="module")
def comparison(place):
    return compare(MODELS, EmbeddedDataset("test", size=9), output=place, gallery="all", **OPTIONS)


def files(place) -> set[str]:
    return {path.relative_to(place).as_posix() for path in (place / PHOTOGRAPHS).rglob("*") if path.is_file()}


def addresses(html: str) -> set[str]:
    return set(re.findall(r'src="(report_photographs[^"]*)"', html))


def test_all_images_lie_beside_the_page_and_the_first_screen_within(comparison, place):
    html = (place / "report.html").read_text()
    expected = {
        f"{PHOTOGRAPHS}/{kind}/test-{number:05d}.jpg" for kind in (PHOTO, "map0", "map1") for number in range(9)
    }
    assert files(place) == addresses(html) == expected
    strips, gallery = html[: html.index('id="scores"')], html[html.index('id="gallery"') :]
    assert strips.count('src="data:image/jpeg') == 6 * 5 and PHOTOGRAPHS not in strips
    assert gallery.count('loading="lazy"') == 9 * 5 and "data:image" not in gallery
    assert "All 9 images." in gallery


def test_another_gallery_leaves_no_file_of_the_former_one_and_none_of_the_users(comparison, place):
    stale, own = (place / PHOTOGRAPHS / name for name in ("map1/gone.jpg", "notes.txt"))
    for path in (stale, own):
        path.write_text("")
    _, beside = gallery(comparison, "all", place)
    assert stale.exists(), "until a page without it is written"
    beside.tidy()
    assert not stale.exists() and own.exists() and len(files(place)) == 9 * 3 + 1
    write_report(place, comparison, size=4)
    assert files(place) == {f"{PHOTOGRAPHS}/notes.txt"} and not addresses((place / "report.html").read_text())
    own.unlink()
    remove_photographs(place)
    assert not (place / PHOTOGRAPHS).exists()


def test_any_image_id_is_a_file_and_an_address(tmp_path):
    ids = ["a/b #1?.png", "A/B #1?.png", "../x", "x" * 300, "50%"]
    beside = Beside(tmp_path, ids)
    found = [beside(identifier, PHOTO, np.zeros((4, 4, 3), np.uint8)) for identifier in ids]
    assert len({address.casefold() for address in found}) == len(files(tmp_path)) == 5
    assert all(re.fullmatch(r"report_photographs/photo/[\w.%~-]+\.jpg", address) for address in found)


@pytest.mark.parametrize("size", ["some", -1, True, 2.5])
def test_a_gallery_of_no_size_is_refused(size):
    with pytest.raises(XkdError, match=r"^gallery: .* expected a whole number of at least 0 or one of all"):
        compare(MODELS, gallery=size)


@pytest.fixture(scope="module")
def many(comparison, tmp_path_factory):
    """A page of 1,000 made-up photographs, and what is on it."""
    place = tmp_path_factory.mktemp("many")
    draws = np.random.default_rng(0)
    names = [f"folder #1/{number:04d}" for number in range(MANY)]
    beside = Beside(place, names)

    grey = np.full((8, 8, 3), 90, np.uint8)

    def picture(number: int, name: str) -> Picture:
        agreement, score = number * 389 % MANY / MANY, number * 613 % MANY / MANY  # no two alike
        sources = [beside(name, PHOTO, grey)] * 3
        box = (12.5, 0.0, 75.0, 100.0)
        panels = tuple(
            Panel(model, source, box, "a", 0.5, True, None if model == "teacher" else agreement, "")
            for model, source in zip(MODELS, sources[1:], strict=True)
        )
        label, error = f"class {draws.integers(20)}", list(ERRORS)[draws.integers(4)]
        return Picture(name, label, sources[0], 1.4, False, error, 1 - agreement, panels, ((score,),))

    pictures = tuple(picture(number, name) for number, name in enumerate(names))
    strips = tuple(replace(one, photo=within_page("", PHOTO, grey)) for one in pictures[:6])
    write_comparison_page(place, comparison, {}, Gallery(pictures, strips, is_beside=True, is_whole=True))
    # As it is moved to another place, with its folder.
    moved = tmp_path_factory.mktemp("moved") / "b c"
    place.rename(moved)
    return moved, {one.id: one for one in pictures}


@pytest.fixture
def page(open_page, many):
    place, _ = many
    return open_page(place / "report.html", height=800)


def shown(page) -> list[str]:
    return page.eval_on_selector_all("#cards > li", "cards => cards.map(card => card.dataset.id)")


def chosen(page, control: str, value: str) -> float:
    """Choose, and lay the page out; in milliseconds."""
    return page.evaluate(
        """([id, value]) => {
          const began = performance.now(), control = document.getElementById(id);
          control.value = value;
          control.dispatchEvent(new Event("change"));
          document.getElementById("cards").getBoundingClientRect();
          return performance.now() - began;
        }""",
        [control, value],
    )


def test_a_thousand_are_filtered_and_sorted_at_a_click(page, many):
    _, known = many
    page.evaluate("document.getElementById('gallery').open = true")
    for error, count in Counter(one.error for one in known.values()).items():
        assert chosen(page, "error", error) < 1000
        assert page.inner_text("#shown") == f"{count} of {MANY} images"
        assert {known[name].error for name in shown(page)} == {error}
    label = known[shown(page)[0]].label
    assert chosen(page, "label", label) < 1000
    assert set(shown(page)) == {name for name, one in known.items() if (one.error, one.label) == (error, label)}
    chosen(page, "error", ""), chosen(page, "label", "")
    assert chosen(page, "sort", "least") < 1000
    assert shown(page) == sorted(known, key=lambda name: known[name].disagreement)
    assert chosen(page, "sort", "score-0") < 1000
    assert shown(page) == sorted(known, key=lambda name: known[name].scores)
    assert chosen(page, "sort", "id") < 1000 and shown(page) == sorted(known)


def test_pictures_are_loaded_where_one_scrolls_to_and_only_there(page):
    asked: set[str] = set()
    page.on("request", lambda request: asked.add(request.url))
    card = "document.querySelectorAll('#cards > li')[{}]"
    loaded = f"[...{card}.querySelectorAll('img')].every(image => image.naturalWidth > 0)"
    page.wait_for_timeout(200)
    assert asked == set(), "nothing of a gallery that is folded"
    page.evaluate("document.getElementById('gallery').open = true")
    page.wait_for_function(loaded.format(0))
    page.wait_for_timeout(200)
    first = len(asked)
    assert 0 < first < MANY / 4
    page.evaluate(f"{card.format(MANY - 1)}.scrollIntoView()")
    page.wait_for_function(loaded.format(MANY - 1))
    assert not page.evaluate(loaded.format(MANY // 2)) and len(asked) < MANY / 2
    moved = page.evaluate(
        """async () => {
          const began = performance.now(), height = document.scrollingElement.scrollHeight;
          for (let step = 0; step <= 20; step++) {
            scrollTo(0, height * step / 20);
            await new Promise(requestAnimationFrame);
          }
          return performance.now() - began;
        }"""
    )
    assert moved < 10_000
    page.evaluate(f"{card.format(MANY // 2)}.scrollIntoView()")
    page.wait_for_function(loaded.format(MANY // 2))


def test_one_of_a_thousand_is_enlarged_fades_and_is_turned_over(page, many):
    _, known = many
    page.click(".strip >> nth=2")
    strip = page.get_attribute(".strip >> nth=2", "data-of")
    assert page.inner_text("#enlarged h3").endswith(strip)
    page.wait_for_function("[...document.querySelectorAll('#enlarged img')].every(image => image.naturalWidth > 0)")
    page.focus("#large .strength")
    page.keyboard.press("Home")
    assert page.eval_on_selector("#enlarged img.map", "map => getComputedStyle(map).opacity") == "0"
    page.focus("#after")
    page.keyboard.press("ArrowRight")
    following = sorted(known, key=lambda name: -known[name].disagreement)
    assert page.inner_text("#enlarged h3").endswith(following[following.index(strip) + 1])


def test_on_paper_are_the_first_ones(page):
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    chosen(page, "error", "all wrong")
    displayed = "cards => cards.filter(card => getComputedStyle(card).display !== 'none').map(card => card.dataset.id)"
    assert page.eval_on_selector_all("#cards > li", displayed) == shown(page)[:IN_PAGE]
