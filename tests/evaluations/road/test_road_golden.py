"""ROAD: what grad-cam printed on real photographs, and where it breaks."""

from functools import partial

import numpy as np
import pytest
import torch

from xkd_eval import evaluate
from xkd_eval.datasets.base import Subset
from xkd_eval.evaluations.forms import in_form
from xkd_eval.evaluations.linear_infill import infilled
from xkd_eval.explainers.stored import save_maps

# A step costs a filled-in image and a forward, 18 an image: three of the sixteen.
PLACES = (0, 2, 7)
NO_NOISE = "road:preset=grad-cam,noise=0"


@pytest.fixture(scope="module")
def rows(golden):
    return golden.run(NO_NOISE, "tie_free", PLACES).columns


@pytest.mark.parametrize("order", ["morf", "lerf"])
def test_every_step_of_grad_cam(golden, rows, order):
    entry = golden.metrics[f"road_{order}/grad-cam/tie_free"]
    curve = rows[f"road_{order}_curve"]
    # Its percentile keeps what our fraction removes.
    changes = (curve[:, 1:] - curve[:, :1])[:, ::-1]
    np.testing.assert_allclose(changes, np.array(entry["per_image"])[list(PLACES)], atol=1e-4)
    np.testing.assert_allclose(rows[f"road_{order}"], np.array(entry["mean9"])[list(PLACES)], atol=1e-4)
    four = changes[:, [1, 3, 5, 7]].mean(1)
    np.testing.assert_allclose(four, np.array(entry["mean_20_40_60_80"])[list(PLACES)], atol=1e-4)


def test_the_combined_score_of_grad_cam(golden, rows):
    nine = golden.metrics["road_combined/grad-cam/tie_free/9"]["per_image"]
    np.testing.assert_allclose(rows["road_combined"], np.array(nine)[list(PLACES)], atol=1e-4)


def test_the_combined_score_over_four_steps(golden):
    four = golden.metrics["road_combined/grad-cam/tie_free/4"]["per_image"]
    found = golden.run("road:preset=arcc,noise=0", "tie_free", PLACES)
    np.testing.assert_allclose(found.columns["road_combined"], np.array(four)[list(PLACES)], atol=1e-4)


def test_as_released_within_what_noise_moves(golden):
    # Loose: other noise than torch's. One photograph's change moves by about .01 from seed to seed.
    entry = golden.metrics["road_combined/grad-cam/as_released/4"]["per_image"]
    found = golden.run("road:preset=arcc", "source", range(4))
    assert found.summary["preset"]["name"] == "arcc"
    np.testing.assert_allclose(found.columns["road_combined"], entry, atol=0.02)


def test_exact_counts_differ_little_from_percentiles_without_ties(golden, rows):
    found = golden.run("road:noise=0", "tie_free", PLACES)
    np.testing.assert_allclose(found.columns["road_combined"], rows["road_combined"], atol=2e-3)


def test_the_toy_of_grad_cam(golden):
    toy = golden.metrics["noisy_linear_imputation/toy"]
    image = torch.tensor(toy["image_8x8"])[None]
    hidden = torch.tensor(toy["mask_8x8 (0 = removed)"])[None] == 0
    expected = torch.tensor(toy["imputed, noise 0"])[None, None]
    torch.testing.assert_close(infilled(image, hidden), expected, rtol=0, atol=2e-6)


@pytest.fixture(scope="module")
def mostly_zero(golden, golden_maps, tmp_path_factory):
    """A folder of the map of photograph 2 whose lower 40 % are 0."""
    place = golden.photographs.ids[2]
    raw = torch.from_numpy(np.load(golden_maps["source"] / f"{place}.npy"))[None]
    values = in_form(raw, "minmax", (224, 224))[0].numpy()
    folder = tmp_path_factory.mktemp("zeros")
    save_maps(folder, [place], torch.from_numpy(np.where(values < np.percentile(values, 40), 0, values)))
    return folder


def test_a_map_with_many_zeros_is_left_out_where_grad_cam_scores_a_grey_image(golden, golden_metrics, mostly_zero):
    entry = golden_metrics["broken"]["grad-cam ROAD on a map with 40 % zeros"]
    photograph = Subset(golden.photographs, [2])
    run = partial(evaluate, {"lite0": golden.classifier}, photograph, maps=mostly_zero)
    few = run(tests=[NO_NOISE], fractions=(0.2,)).results[0].columns
    changes = {f"{order} 80": few[f"road_{order}"][0] for order in ("morf", "lerf")}
    for name, change in changes.items():
        assert change == pytest.approx(entry["change of probability"][name], abs=1e-4)
    many = run(tests=[NO_NOISE], fractions=(0.2, 0.8)).results[0]
    assert many.summary["nothing_left"] == 1 and many.summary["road_combined"]["value"] is None
    assert "images left out: 1" in many.test.notes(many.summary)[-1]


def test_noise_moves_a_photograph_as_it_does_grad_cam(golden, golden_metrics):
    # Four seeds of theirs and one of ours, all in normalised space: -.179 to -.186 where no noise gives -.167.
    entry = golden_metrics["broken"]["grad-cam ROAD noise"]
    found = golden.run("road:preset=grad-cam", "tie_free", [0], fractions=(0.2, 0.8)).columns
    morf = found["road_morf_curve"][0, 1] - found["road_morf_curve"][0, 0]
    lerf = found["road_lerf_curve"][0, 2] - found["road_lerf_curve"][0, 0]
    theirs = np.array(entry["change at (morf 80, lerf 20), noise 0.01, seeds 0..3"])
    assert morf == pytest.approx(theirs[:, 0].mean(), abs=1e-3)
    assert lerf == pytest.approx(theirs[:, 1].mean(), abs=1e-2)
    assert abs(lerf - entry["noise 0"][1]) > 5e-3


def test_the_share_of_zeros_in_rectified_maps(golden, golden_metrics, golden_maps):
    raw = [np.load(golden_maps["source"] / f"{place}.npy") for place in golden.photographs.ids]
    rectified, _ = in_form(torch.from_numpy(np.stack(raw)), "relu", (224, 224))
    shares = (rectified == 0).float().mean((1, 2)).numpy()
    np.testing.assert_allclose(shares, golden_metrics["broken"]["zero pixels of the relu maps"], atol=1e-4)
