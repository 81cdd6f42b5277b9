"""Overlays from files and data sets: what is drawn depends on what is asked for, not on batches or processes."""

import numpy as np
import pytest
import torch
from PIL import Image

from xkd_eval import load_classifier
from xkd_eval.errors import XkdError
from xkd_eval.explanations import overlay as overlays
from xkd_eval.explanations import overlay_files
from xkd_eval.explanations.explain import explain
from xkd_eval.explanations.overlay import NamedPhoto
from xkd_eval.report.overlays import write_overlays


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Write overlays of the embedded teacher -> (titles, panels) that the figure was made of."""
    made = {}

    def figure(rows, row_titles, **style):
        made.update(rows=rows, titles=row_titles)

    monkeypatch.setattr(overlays, "overlay_figure", figure)
    monkeypatch.setattr(overlay_files, "save_figure", lambda figure, path: path)

    def draw(*photos, data=None, ids=(), **options):
        write_overlays(
            models=["embedded"], weights=[], photos=photos, data=data, ids=ids, output=tmp_path / "x.png", **options
        )
        return made["titles"], [panel for row in made["rows"] for panel in row]

    return draw


def test_batches_and_processes_change_nothing(drawn):
    titles, whole = drawn(data="embedded", classes="top:2")
    again, parts = drawn(data="embedded", classes="top:2", batch_size=3, workers=2)
    assert titles == again == [text for number in range(4) for text in (f"test-{number:05d}", "")]
    for one, other in zip(whole, parts, strict=True):
        assert np.array_equal(one.image, other.image)
        assert one.title == other.title
        np.testing.assert_allclose(one.map, other.map, atol=1e-4)


def test_files_are_decoded_by_processes_too(drawn, tmp_path):
    files = [tmp_path / f"{shade}.png" for shade in (10, 200, 90)]
    for file in files:
        Image.new("RGB", (30, 20), (int(file.stem),) * 3).save(file)
    titles, panels = drawn(*files, workers=2)
    assert titles == ["10.png", "200.png", "90.png"]
    assert [panel.image[0, 0, 0] for panel in panels] == [10, 200, 90]


def test_the_models_input_can_be_corrected(drawn, tmp_path):
    Image.effect_noise((60, 40), 80).convert("RGB").save(tmp_path / "a.png")
    _, (own,) = drawn(tmp_path / "a.png", classes="3")
    _, (corrected,) = drawn(tmp_path / "a.png", classes="3", preprocess={"mean": (0.6,) * 3, "size": (64, 64)})
    assert own.map.shape == (10, 10) and corrected.map.shape == (16, 16)
    teacher = load_classifier("embedded", mean=(0.6,) * 3, size=(64, 64), resize="squash")
    expected = explain(teacher, [tmp_path / "a.png"], [3])
    np.testing.assert_array_equal(corrected.map, expected.maps[0])


def test_a_sample_goes_by_its_seed(drawn):
    first, _ = drawn(data="embedded", limit=5)
    same, _ = drawn(data="embedded", limit=5)
    other, _ = drawn(data="embedded", limit=5, seed=1)
    assert len(first) == 5 and first == same != other


def test_random_maps_go_by_the_seed(drawn):
    maps = [drawn(data="embedded", ids=["test-00000"], explainer="random", seed=seed)[1][0].map for seed in (0, 0, 1)]
    assert np.array_equal(maps[0], maps[1])
    assert not np.array_equal(maps[0], maps[2])


def test_bfloat16_moves_the_maps_a_little(drawn):
    _, exact = drawn(data="embedded", ids=["test-00002"])
    _, rounded = drawn(data="embedded", ids=["test-00002"], precision="bf16")
    difference = np.abs(exact[0].map - rounded[0].map).max()
    assert 0 < difference < 0.05 * np.abs(exact[0].map).max()


def test_one_photo_is_a_figure_in_every_form(monkeypatch, tmp_path):
    drawn = []
    monkeypatch.setattr(overlays, "overlay_figure", lambda rows, row_titles: drawn.append((rows, row_titles)))
    teacher = load_classifier("embedded")
    photo = Image.effect_noise((64, 64), 80).convert("RGB")
    photo.save(tmp_path / "a.png")
    tensor = torch.from_numpy(np.array(photo)).permute(2, 0, 1)
    for one in (photo, np.asarray(photo), tensor, tmp_path / "a.png", overlays.NamedPhoto("a", photo)):
        overlays.overlay(teacher, one, classes="three")
        overlays.overlay([teacher], [one, overlays.NamedPhoto("b", photo)], classes=3)
    assert [titles for _, titles in drawn[::2]] == [[""], [""], [""], ["a.png"], ["a"]]
    assert [titles[1] for _, titles in drawn[1::2]] == ["b"] * 5
    for rows, _ in drawn:
        np.testing.assert_allclose(rows[0][0].map, drawn[0][0][0][0].map, atol=1e-4)
        assert [panel.title for (panel,) in rows] == ["three"] * len(rows)


@pytest.mark.parametrize(
    ("classes", "reason"),
    [
        ("top:0", "'top:0' found; expected top:K with K of at least 1"),
        ("top:11", "'top:11' found; embedded has 10 classes"),
        ("tree", "'tree' is no class of embedded; nearest: three"),
        (12, "12 is out of range"),
    ],
)
def test_classes_that_cannot_be_drawn(classes, reason):
    with pytest.raises(XkdError, match=f"^classes: {reason}"):
        overlays.overlay(load_classifier("embedded"), Image.new("RGB", (8, 8)), classes=classes)


def test_no_photo_at_all():
    with pytest.raises(XkdError, match="photos: none given"):
        overlays.overlay(load_classifier("embedded"), [])


@pytest.mark.parametrize("options", [{"ids": ["test-00000"], "data": "embedded"}, {}])
def test_a_sample_needs_a_data_set(drawn, options):
    with pytest.raises(XkdError, match="limit: takes a sample of a data set; give `data`, and no `ids`"):
        drawn(limit=3, **options)


@pytest.mark.parametrize(
    ("names", "files"),
    [
        (["a.jpg", "b/c.png"], ["a.png", "b_c.png"]),
        (["../../x", "/etc/passwd", ".."], ["%2e._.._x.png", "_etc_passwd.png", "%2e%2e.png"]),
        (["a.b.jpg", ".jpg", "dir.x/y"], ["a.b.png", "%2ejpg.png", "dir.x_y.png"]),
    ],
)
def test_figures_lie_in_their_folder_whatever_the_photos_are_called(tmp_path, names, files):
    paths = [path for path, _ in overlay_files._figure_paths(tmp_path, [NamedPhoto(name, "") for name in names], "png")]
    assert [path.name for path in paths] == files and {path.parent for path in paths} == {tmp_path}


def test_no_two_photos_share_a_figure(tmp_path):
    def paths(*names):
        return [
            path for path, _ in overlay_files._figure_paths(tmp_path, [NamedPhoto(name, "") for name in names], "png")
        ]

    assert len({path.name.casefold() for path in paths("A.jpg", "a.jpg", "x" * 300, "x" * 301)}) == 4
    with pytest.raises(XkdError, match=r"^output: two photos would both be written to a_b\.png"):
        paths("a/b.jpg", "a_b.png")


@pytest.mark.parametrize("classes", ["top:0", "top:", "top:-1", "top:1.5", "top:²", "top:" + "9" * 5000])
def test_a_number_of_classes_that_cannot_be_is_refused(drawn, classes):
    with pytest.raises(XkdError, match=r"^classes: 'top:.*' found; expected top:K"):
        drawn(data="embedded", classes=classes)


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1)])
def test_photos_of_any_shape_are_drawn(size):
    figure = overlays.overlay(load_classifier("embedded/kd"), Image.new("RGB", size, "navy"))
    assert all(side > 0 for side in figure.get_size_inches())


def test_several_explainers_are_a_column_each(monkeypatch):
    made = []
    monkeypatch.setattr(overlays, "overlay_figure", lambda rows, **style: made.extend(rows))
    models = [load_classifier("embedded/teacher"), load_classifier("embedded/kd")]
    photo = Image.effect_noise((60, 40), 80).convert("RGB")
    overlays.overlay(models, [photo, photo], explainer=["cam", "saliency"], classes="top:2")
    assert len(made) == 4
    names = [f"{model}, {method}" for model in ("embedded/teacher", "embedded/kd") for method in ("cam", "saliency")]
    assert all([panel.model for panel in row] == names for row in made)
    own = explain(models[1], photo, explainer="saliency")
    np.testing.assert_allclose(made[0][3].map, own.maps[0], atol=1e-5)


@pytest.mark.parametrize(("several", "reason"), [([], "none given"), (["cam", "cam"], "two of one name")])
def test_explainers_that_make_no_columns_are_refused(several, reason):
    with pytest.raises(XkdError, match=f"explainer: {reason}"):
        overlays.overlay(load_classifier("embedded/kd"), Image.new("RGB", (64, 64)), explainer=several)
