"""The page of overlays: every photo with its maps, and what a reader does with them."""

from __future__ import annotations

import re

import pytest
from PIL import Image

from xkd_eval.datasets.embedded import EmbeddedDataset
from xkd_eval.report import overlays
from xkd_eval.report.overlays import write_overlays


def write(photos, place, **options):
    models = ["embedded/teacher", "embedded/kd"]
    return write_overlays(
        models=models, weights=[], photos=photos, data=None, ids=[], output=place, command="<b>command</b>", **options
    )


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    place, images = tmp_path_factory.mktemp("photos"), EmbeddedDataset("test", size=3)
    paths = [place / f"<i>{number}.png" for number in range(3)]
    for number, path in enumerate(paths):
        images.load(number).image.resize((60, 40), Image.Resampling.BILINEAR).save(path)
    return paths


def test_a_folder_gets_a_page_that_works_by_mouse_and_keyboard(open_page, photos, tmp_path):
    *figures, page_file = write(photos, tmp_path / "out", explainer=["cam", "random"], classes="top:2", alpha=0.25)
    assert [path.suffix for path in figures] == [".png"] * 3 and page_file == tmp_path / "out" / "overlays.html"
    html = page_file.read_text()
    assert "<i>" not in html and "&lt;b&gt;command" in html
    assert {found.partition(":")[0] for found in re.findall(r'src="([^"]+)"', html)} == {"data"}
    page = open_page(page_file, width=390, height=800)
    assert page.inner_text("h1") == "3 photographs, and where embedded/teacher and embedded/kd look"
    assert page.locator("#cards > li").count() == 3 and page.locator("#cards img.map").count() == 3 * 2 * 2 * 2
    assert page.eval_on_selector_all("img", "all => all.every(image => image.naturalWidth > 0)")
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 390
    assert page.eval_on_selector("img.map", "map => getComputedStyle(map).opacity") == "0.25"
    page.focus("#controls .strength")
    page.keyboard.press("End")
    assert page.eval_on_selector("img.map", "map => getComputedStyle(map).opacity") == "1"
    page.focus("#cards > li")
    page.keyboard.press("Enter")
    assert page.inner_text("#enlarged h2") == "<i>0.png" and page.input_value("#large .strength") == "100"
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#enlarged h2") == "<i>1.png"


def test_a_file_gets_no_page(photos, tmp_path):
    assert write(photos[:1], tmp_path / "one.png") == [tmp_path / "one.png"]
    assert not (tmp_path / "overlays.html").exists()


def test_many_photos_lie_beside_the_page(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(overlays, "IN_PAGE", 2)
    page = write(photos, tmp_path)[-1]
    files = {path.relative_to(tmp_path).as_posix() for path in (tmp_path / "overlays_photographs").rglob("*.jpg")}
    assert len(files) == 3 * 3 and page.read_text().count('loading="lazy"') == 3 * (1 + 2 * 2)
    write(photos[:1], tmp_path)
    assert not (tmp_path / "overlays_photographs").exists()
