"""Networks of other channels than photographs have, evaluated on files of as many."""

import numpy as np
import pytest
import tifffile
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import nn

from xkd_eval import (
    Preprocess,
    evaluate,
    explain,
    load_classifier,
    open_dataset,
    overlay,
    perturbation_test,
    segmentation_test,
)
from xkd_eval.bands import Bands, displayed
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.datasets.grids import Grids
from xkd_eval.datasets.loader import Skipped, stream
from xkd_eval.datasets.samples import load_photograph, load_sample
from xkd_eval.errors import XkdError
from xkd_eval.evaluations.removal import fill_image
from xkd_eval.evaluations.sic.revealing import information, interpolated
from xkd_eval.testing import check_dataset

SIDE = 8


class Reads(nn.Module):
    """The logit of class 1 is ten times the mean of the last channel; that of class 0 is 0.8."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.map, self.head = nn.Conv2d(channels, 1, 1, bias=False), nn.Linear(1, 2)
        with torch.no_grad():
            self.map.weight.zero_()
            self.map.weight[0, -1] = 1
            self.head.weight.copy_(torch.tensor([[0.0], [10.0]]))
            self.head.bias.copy_(torch.tensor([0.8, 0.0]))

    def forward(self, images):
        return self.head(self.map(images).mean((2, 3)))


def reads(channels: int = 5) -> Classifier:
    return load_classifier(Reads(channels), size=SIDE, mean=0.0, std=1.0)


def with_evidence(row: int, channels: int = 5) -> np.ndarray:
    """Noise; the last channel is white in two rows, 16 of 64 pixels, and black elsewhere."""
    array = np.random.default_rng(row).integers(0, 256, (SIDE, SIDE, channels), dtype=np.uint8)
    array[:, :, -1] = 0
    array[row : row + 2, :, -1] = 255
    return array


def write_npy(path, array):
    np.save(path.with_suffix(".npy"), array)


def write_tif(path, array):
    tifffile.imwrite(path.with_suffix(".tif"), np.moveaxis(array, 2, 0), photometric="minisblack")


def write_png(path, array):
    Image.fromarray(array).save(path.with_suffix(".png"))


@pytest.fixture
def written(tmp_path):
    """A function that writes three images of class 1 as `write` does, after `change`, and gives their folder."""

    def write_all(write, channels=5, change=lambda array: array):
        folder = tmp_path / f"{write.__name__}{channels}{len(list(tmp_path.iterdir()))}"
        (folder / "0").mkdir(parents=True)
        (folder / "1").mkdir()
        for row in range(3):
            write(folder / "1" / str(row), change(with_evidence(row, channels)))
        write(folder / "0" / "none", change(np.zeros((SIDE, SIDE, channels), np.uint8)))
        return folder

    return write_all


FINER = {
    "uint8": lambda array: array,
    "uint16": lambda array: array.astype(np.uint16) * 257,
    "float": lambda array: array / 255,
}


@pytest.mark.parametrize("kind", FINER)
@pytest.mark.parametrize("write", [write_npy, write_tif], ids=["npy", "tif"])
def test_the_evidence_in_the_fifth_channel_is_removed_first(written, write, kind):
    """Of 64 pixels 16 are evidence: a logit of 2.5. A tenth is 6 of them, a fifth 12: 1.56 and 0.63, against 0.8."""
    found = perturbation_test(reads(), written(write, change=FINER[kind]), workers=2)
    assert found.rows["predicted"].to_pylist() == [0, 1, 1, 1]
    for row in range(1, 4):
        assert found.rows["clean_logit"][row].as_py() == pytest.approx(2.5, abs=1e-5)
        assert found.rows["positive_logit"][row].as_py()[:4] == pytest.approx([1.5625, 0.625, 0, 0], abs=1e-5)
        assert found.rows["positive_hit"][row].as_py() == [True] + [False] * 8
        assert found.rows["negative_logit"][row].as_py()[:7] == pytest.approx([2.5] * 7, abs=1e-5)
        assert found.rows["negative_hit"][row].as_py() == [True] * 9


def test_an_npy_of_three_channels_is_the_same_as_the_png_to_the_last_bit(written):
    tests = ["perturbation:fill=blur", "insertion_deletion", "irof:segments=8"]  # which draw nothing by an id
    options = {"tests": tests, "explainers": ["cam", "feature_ablation", "edges"], "size": 24}
    png, npy = (evaluate("embedded/kd", written(write, channels=3), **options) for write in (write_png, write_npy))
    assert len(png.results) == len(npy.results) == 9
    for ours, theirs in zip(npy.results, png.results, strict=True):
        assert same_answers(ours.rows, theirs.rows), (ours.maps, ours.test_name)


def same_answers(ours, theirs) -> bool:
    """Whether rows of two files' images are the same but for the files' names and bytes."""
    unlike = ["id", "content_hash"]
    return ours.drop_columns(unlike).equals(theirs.drop_columns(unlike))


def test_a_luminance_network_takes_the_same_of_both(written):
    grey = load_classifier(Reads(1), size=SIDE, mean=0.0, std=1.0)
    png, npy = (perturbation_test(grey, written(write, channels=3)).rows for write in (write_png, write_npy))
    assert same_answers(png, npy)


def test_masks_beside_channels(tmp_path):
    for row in range(3):
        write_npy(tmp_path / f"{row}", with_evidence(row))
        mask = (with_evidence(row)[:, :, -1] > 0).astype(np.uint8)
        Image.fromarray(mask * 255).save(tmp_path / f"{row}.png")
    found = segmentation_test(reads(), tmp_path)
    assert found.rows["id"].to_pylist() == ["0.npy", "1.npy", "2.npy"]
    assert found.summary["pointing_game"]["value"] == 1
    assert found.summary["pixel_accuracy"]["value"] > 0.9


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("channels", "write", "of", "message"),
    [
        (5, write_png, 3, r"^data: 0/none\.png: 3 channels found, and the network takes 5; expected photographs for"),
        (3, write_npy, 5, r"^data: 0/none\.npy: 5 channels found, and the network takes 3; expected photographs for"),
        (4, write_tif, 5, r"^data: 0/none\.tif: 5 channels found, and the network takes 4; "),
    ],
    ids=["photographs", "deep", "deeper"],
)
def test_other_channels_than_the_networks_end_a_run_in_one_line(written, channels, write, of, message, workers):
    with pytest.raises(XkdError, match=message):
        perturbation_test(reads(channels), written(write, channels=of), workers=workers)


def test_a_set_of_mixed_depths_is_refused_at_the_image_that_differs(written):
    folder = written(write_npy)
    write_npy(folder / "1" / "1", with_evidence(1, channels=4))
    with pytest.raises(XkdError, match=r"^data: 1/1\.npy: 4 channels found, and the network takes 5"):
        perturbation_test(reads(), folder)


def test_bytes_and_finer_values_make_one_set(written):
    folder = written(write_npy)
    expected = perturbation_test(reads(), folder).rows
    write_npy(folder / "1" / "1", with_evidence(1) / 255)
    found = perturbation_test(reads(), folder).rows
    assert found["clean_logit"].to_pylist() == pytest.approx(expected["clean_logit"].to_pylist(), abs=1e-5)
    for name in ("positive_hit", "negative_hit"):
        assert found[name].equals(expected[name])


@pytest.mark.parametrize("channels", [3, 5])
def test_bytes_are_the_same_beside_finer_values_to_the_last_bit(written, channels):
    """Though what is interpolated between bytes is rounded, and nothing else is."""
    folder = written(write_npy, channels)
    tests = ["perturbation:fill=blur", "irof:segments=8,infill=blur", "sic"]
    network = load_classifier(Reads(channels), size=24, mean=0.0, std=1.0)

    def rows():
        found = evaluate(network, folder, tests=tests, explainers=["cam", "edges"], size=24, batch_size=4)
        return [result.rows.filter([True, True, False, True]) for result in found.results]

    alone = rows()
    write_npy(folder / "1" / "1", np.random.default_rng(0).random((SIDE, SIDE, channels)))
    for ours, theirs in zip(rows(), alone, strict=True):
        np.testing.assert_equal(ours.to_pydict(), theirs.to_pydict())  # to which NaN is NaN


def test_damaged_files_are_skipped(written):
    folder = written(write_npy)
    (folder / "1" / "1.npy").write_bytes((folder / "1" / "1.npy").read_bytes()[:-1])
    found = perturbation_test(reads(), folder).rows
    assert [reason is None for reason in found["skipped"].to_pylist()] == [True, True, False, True]
    items = list(stream(open_dataset(folder), range(4), reads().preprocess))
    assert isinstance(items[2], Skipped) and items[2].reason.startswith("truncated or damaged (")


@pytest.mark.parametrize("write", [write_npy, write_tif], ids=["npy", "tif"])
def test_the_set_keeps_the_contract(written, write):
    check_dataset(open_dataset(written(write)))


@pytest.mark.parametrize(
    "explainer", ["rise:masks=2000", "feature_ablation", "occlusion:windows=4", "gradcam", "edges"]
)
def test_explainers_find_or_mask_every_channel(written, explainer):
    """Whatever hides pixels hides all channels, so that the last one's evidence counts."""
    folder = written(write_npy)
    found = explain(reads(), folder / "1" / "2.npy", 1, explainer=explainer)
    assert isinstance(found.photos[0], Bands) and found.maps.shape[0] == 1
    assert np.isfinite(found.maps).all()
    if explainer != "edges":
        rows = found.maps[0].mean(1)
        assert rows.argmax() * SIDE // len(rows) in (2, 3)


def test_overlays_show_the_first_three_channels(written):
    folder = written(write_npy)
    found = explain(reads(), [folder / "1" / "0.npy", Bands(with_evidence(0))])
    np.testing.assert_array_equal(found.panels()[0].image, displayed(Bands(with_evidence(0))))
    np.testing.assert_array_equal(found.maps[0], found.maps[1])
    assert isinstance(overlay(reads(), folder / "1" / "0.npy"), Figure)


def test_one_channel_is_explained_and_shown_as_grey(written):
    image = Bands(with_evidence(0, channels=1))
    for classifier in (reads(1), reads(3)):
        found = explain(classifier, image)
        assert found.panels()[0].image.shape == (SIDE, SIDE, 3)
        assert isinstance(overlay(classifier, image), Figure)


@pytest.mark.parametrize("fill", ["black", "mean", "blur", "rise_blur", "reflecting_blur"])
def test_infills_are_made_of_each_channel(fill):
    """As of as many networks of one channel each, whose means differ."""
    mean, std = (0.1, 0.2, 0.3, 0.4, 0.5), (0.5, 0.4, 0.3, 0.2, 0.1)
    pixels = torch.from_numpy(with_evidence(2)).permute(2, 0, 1)[None]
    pixels = torch.nn.functional.interpolate(pixels.float(), (32, 32)).byte()
    preprocess = Preprocess(size=(32, 32), mean=mean, std=std)
    found = fill_image(pixels, preprocess, fill)
    in_floats = fill_image(pixels / 255, preprocess, fill)
    torch.testing.assert_close(in_floats, found, rtol=1e-5, atol=1e-5)
    for channel in range(5):
        alone = Preprocess(size=(32, 32), mean=(mean[channel],), std=(std[channel],))
        expected = fill_image(pixels[:, channel : channel + 1], alone, fill)
        torch.testing.assert_close(found[:, channel : channel + 1], expected, rtol=1e-5, atol=1e-5)


def test_grids_are_as_deep_as_their_photographs(written):
    dataset = open_dataset(written(write_npy))
    grids = Grids(dataset, 2, [[1, 2, 3, 0]], {})
    (item,) = stream(grids, [0], reads().preprocess)
    assert item.pixels.shape == (5, 2 * SIDE, 2 * SIDE)
    np.testing.assert_array_equal(item.pixels[:, :SIDE, SIDE:].permute(1, 2, 0), with_evidence(1))
    np.testing.assert_array_equal(grids.load(0).image.array, item.pixels.permute(1, 2, 0))


def test_information_of_other_channels_is_that_of_each():
    image = with_evidence(0)
    layers = [np.repeat(image[:, :, channel : channel + 1], 3, 2) for channel in range(5)]
    assert information(image) == sum(map(information, layers)) == information(image / 255)


def test_interpolation_of_floats_is_not_rounded():
    known = np.zeros((SIDE, SIDE), bool)
    ramp = np.linspace(0, 0.2, SIDE, dtype=np.float32)[:, None, None].repeat(SIDE, 1).repeat(5, 2)
    np.testing.assert_allclose(interpolated(ramp, known), ramp, atol=1e-6)


def test_trainings_take_photographs_alone(written):
    dataset = open_dataset(written(write_npy))
    with pytest.raises(XkdError, match=r"0/none\.npy: 5 channels of uint8 found; expected RGB of 8 bits, which train"):
        load_photograph(dataset, 0)
    flat = open_dataset(written(write_npy, channels=3))
    assert load_photograph(flat, 1) == load_sample(flat, 1).image


def test_a_run_is_not_continued_on_other_values(written, tmp_path):
    folder = written(write_npy)
    perturbation_test(reads(), folder, output=tmp_path / "run")
    write_npy(folder / "1" / "1", with_evidence(2))
    with pytest.raises(XkdError, match=r"^data: the image '1/1\.npy' is not the one that"):
        perturbation_test(reads(), folder, output=tmp_path / "run")
