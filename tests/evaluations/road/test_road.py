"""ROAD: by hand, against one image and one step at a time, and what is refused."""

import numpy as np
import pytest
import torch

from tests.evaluations.conftest import batch_of
from tests.evaluations.test_linear_infill import solved
from xkd_eval import XkdError, evaluate
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.datasets.embedded import EmbeddedDataset
from xkd_eval.evaluations.linear_infill import infill_noise
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.evaluations.road.options import RoadOptions
from xkd_eval.evaluations.road.protocol import PRESETS
from xkd_eval.evaluations.road.test import RoadTest
from xkd_eval.testing import check_test

PLAIN = Preprocess(size=(10, 10), mean=(0.0,) * 3, std=(1.0,) * 3)


def made(**options) -> RoadTest:
    return RoadTest.create(Rules(), RoadOptions(**options))


def test_a_bright_row_is_gone_first_and_stays_to_the_last_by_hand():
    # The answer is the sum; the bright row's pixels are the most relevant, and black ones fill them in.
    pixels = torch.zeros(1, 3, 10, 10, dtype=torch.uint8)
    pixels[:, :, 4] = 255

    def model(images):
        total = images.mean((1, 2, 3))
        return torch.stack([torch.zeros_like(total), 10 * total], 1)

    rows = made(noise=0.0).rows(batch_of(pixels, pixels[:, 0].float(), model, [1], PLAIN))
    bright = 1 / (1 + np.exp(-1.0))
    np.testing.assert_allclose(rows["road_morf_curve"], [[bright] + [0.5] * 9], atol=1e-6)
    assert rows["road_morf"] == pytest.approx(0.5 - bright)
    # Of 90 % least relevant the row alone is left, and all becomes white: 1 / (1 + exp(-10)).
    assert rows["road_lerf_curve"][0, -1] == pytest.approx(1 / (1 + np.exp(-10.0)), abs=1e-6)
    assert rows["road_combined"] == pytest.approx((rows["road_lerf"] - rows["road_morf"]) / 2)
    assert rows["road_morf_accuracy"] == pytest.approx(0.0)  # of even answers the first class wins
    assert rows["road_lerf_accuracy"] == pytest.approx(1.0)


@pytest.mark.parametrize("noise_space", ["unit", "normalised"])
@pytest.mark.parametrize("removal", ["rank", "percentile"])
def test_equals_one_image_and_one_step_at_a_time(removal, noise_space):
    generator = torch.Generator().manual_seed(1)
    preprocess = Preprocess(size=(12, 9), mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    pixels = torch.randint(0, 256, (3, 3, 12, 9), generator=generator, dtype=torch.uint8)
    maps = torch.rand(3, 12, 9, generator=generator)
    weight = torch.randn(4, 3 * 108, generator=generator) / 10
    labels = [0, 1, -1]

    def model(images):
        return images.flatten(1) @ weight.T

    fractions = (0.25, 0.6, 0.99)
    test = made(fractions=fractions, noise=0.2, removal=removal, noise_space=noise_space, noise_seed=5)
    rows = test.rows(batch_of(pixels, maps, model, labels, preprocess, chunk=4))
    deviation = 0.2 / torch.tensor(preprocess.std) if noise_space == "unit" else torch.full((3,), 0.2)
    for image in range(3):
        clean = preprocess.normalise(pixels[image : image + 1])[0]
        explained = int(model(clean[None]).argmax())
        for order, sign in (("morf", 1), ("lerf", -1)):
            values = (sign * maps[image]).flatten().numpy().astype(np.float64)
            for place, fraction in enumerate(fractions):
                removed = np.argsort(-values)[: int(fraction * 108)]
                if removal == "percentile":
                    removed = np.nonzero(values >= np.percentile(values, 100 * (1 - fraction)) - 1e-7)[0]
                hidden = np.zeros(108, dtype=bool)
                hidden[removed] = True
                filled = torch.from_numpy(solved(clean.double().numpy(), hidden.reshape(12, 9)))
                drawn = infill_noise(str(image), fraction, 5, clean) * deviation[:, None, None]
                filled[:, hidden.reshape(12, 9)] += drawn[:, hidden.reshape(12, 9)]
                logits = model(filled.float()[None])[0]
                found = rows[f"road_{order}_curve"][image, place + 1]
                assert found == pytest.approx(float(logits.softmax(0)[explained]), abs=1e-5)
                hit = rows[f"road_{order}_accuracy_curve"][image, place + 1]
                assert np.isnan(hit) if labels[image] < 0 else hit == (int(logits.argmax()) == labels[image])


def test_the_mean_of_an_accuracy_is_over_images_with_labels(pixel_sum):
    pixels = torch.full((2, 3, 10, 10), 255, dtype=torch.uint8)
    test = made()
    summary = test.summarise(test.rows(batch_of(pixels, torch.rand(2, 10, 10), pixel_sum, [1, -1], PLAIN)))
    assert summary["road_morf_accuracy"]["value"] == 1.0
    assert [point["value"] for point in summary["road_morf_accuracy_curve"]] == [1.0] * 10


def test_a_map_of_mostly_zeros_is_left_out_and_counted_by_percentile_and_scored_by_rank(pixel_sum):
    pixels = torch.full((2, 3, 10, 10), 255, dtype=torch.uint8)
    maps = torch.rand(2, 10, 10)
    maps[0, :5] = 0
    batch = batch_of(pixels, maps, pixel_sum, [1, 1], PLAIN)
    test = made(preset="grad-cam")
    rows = test.rows(batch)
    assert rows["nothing_left"].tolist() == [True, False]
    assert np.isnan(rows["road_morf"]).tolist() == [True, False]
    summary = test.summarise(rows)
    assert summary["nothing_left"] == 1 and summary["road_combined"]["value"] == rows["road_combined"][1]
    assert test.notes(summary)[-1].startswith("images left out: 1; so many values tie that a step would")
    ours = made().rows(batch)
    assert not ours["nothing_left"].any() and np.isfinite(ours["road_combined"]).all()


def test_a_constant_map_is_counted_and_scored_like_a_random_one(pixel_sum):
    pixels = torch.randint(0, 256, (1, 3, 10, 10), dtype=torch.uint8)
    rows = made(preset="grad-cam").rows(batch_of(pixels, torch.ones(1, 7, 7), pixel_sum, [1], PLAIN))
    assert rows["degenerate"].tolist() == [True] and rows["nothing_left"].tolist() == [False]


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_known_again_by_its_rules(preset, pixel_sum):
    test = made(preset=preset)
    rows = test.rows(batch_of(torch.zeros(1, 3, 10, 10, dtype=torch.uint8), torch.rand(1, 5, 5), pixel_sum, [0], PLAIN))
    assert test.summarise(rows)["preset"]["name"] == preset
    assert bool(test.notes(test.summarise(rows))) == (preset != "paper")
    own = made(preset=preset, noise=0.5)
    assert own.summarise(rows)["preset"] == {"name": "own", "departs_from_paper": "rules of the user's own"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "quantus"}, "preset: unknown value 'quantus'; expected one of paper, grad-cam, arcc"),
        ({"fractions": (0.5, 0.2)}, r"fractions: got 0.5, 0.2; expected increasing values between 0 and 1"),
        (
            {"fractions": (0.5, 1.0)},
            r"fractions: got 0.5, 1.0; expected .* so that each step removes a pixel and leaves",
        ),
        ({"fractions": ()}, r"fractions: got none; expected"),
        ({"noise": -1.0}, r"noise: -1.0 found; expected a standard deviation of 0 or more"),
        ({"noise": float("nan")}, r"noise: nan found"),
        ({"form": "log"}, r"form: unknown value 'log'; expected one of minmax"),
        ({"removal": "otsu"}, r"removal: unknown value 'otsu'; expected one of rank, percentile"),
        ({"noise_space": "logit"}, r"noise_space: unknown value 'logit'; expected one of unit, normalised"),
    ],
)
def test_bad_options_are_refused_in_one_line(options, message):
    with pytest.raises(XkdError, match=f"^{message}"):
        made(**options)


def test_an_image_too_small_for_its_steps_is_refused(pixel_sum):
    pixels = torch.zeros(1, 3, 3, 3, dtype=torch.uint8)
    tiny = Preprocess(size=(3, 3))
    with pytest.raises(XkdError, match=r"fractions: 0.1 of 3x3 pixels is no pixel more than the step before; give"):
        made().rows(batch_of(pixels, torch.rand(1, 3, 3), pixel_sum, [0], tiny))


def test_the_contract():
    check_test("road")


def test_the_figure_has_a_panel_an_order():
    result = evaluate("embedded/kd", EmbeddedDataset("test", size=3), tests=["road"], fractions=(0.3, 0.8)).results[0]
    (figure,) = result.test.figures("kd", result.summary, result.columns).values()
    assert len([axes for axes in figure.axes if axes.get_xlabel() == "Pixels filled in (%)"]) == 2
