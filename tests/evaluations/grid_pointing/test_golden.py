"""The golden grids: the figures of the authors' own function, and what the network answered to them."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from tests.evaluations.grid_pointing.conftest import LISTED
from xkd_eval import Explainer, evaluate
from xkd_eval.datasets.grids import Grids
from xkd_eval.datasets.loader import stream


@pytest.fixture(scope="module")
def golden_grids(shared):
    return json.loads((shared / "golden" / "grid_lite0.json").read_text())


@pytest.fixture(scope="module")
def golden_results(golden, golden_grids):
    """(side, figure of the golden file) -> result, all sixteen photographs, all five grids."""
    assert golden.photographs.ids == golden_grids["images"]
    maps = {"signed": "cam", "relu_first": Clamped(), "minmax_trap": Lifted()}
    sides = (2, 3)
    found = evaluate(
        {"lite0": golden.classifier},
        golden.photographs,
        tests=[f"{LISTED},side={side}" for side in sides],
        explainers=[*maps.values()],
    )
    return dict(zip([(side, figure) for side in sides for figure in maps], found.results, strict=True))


@pytest.mark.parametrize("figure", ["signed", "relu_first", "minmax_trap"])
@pytest.mark.parametrize("side", [2, 3])
def test_each_tile_scores_as_by_the_authors_function(side, figure, golden_grids, golden_results):
    """Also what they score of maps that were clamped, or brought to [0, 1], before they were up-sampled."""
    found = golden_results[side, figure]
    expected = [grid for grid in golden_grids["grids"] if grid["side"] == side]
    assert list(found.ids) == ["+".join(golden_grids["images"][place] for place in grid["images"]) for grid in expected]
    assert list(found.columns["target"]) == [grid["classes"][0] for grid in expected]
    np.testing.assert_allclose(found.columns["tile_scores"], [grid[figure] for grid in expected], atol=2e-5)
    mean = golden_grids[f"mean_{side}x{side}_{figure}"]
    assert found.summary["grid_pointing"]["value"] == pytest.approx(mean, abs=1e-5)
    assert found.summary["tile_scale"] == 1


def test_the_network_answers_as_in_the_authors_run(golden, golden_grids):
    """To the photographs alone, and to the grids, on whose features the maps have the stated size."""
    photographs, preprocess = golden.photographs, golden.classifier.preprocess

    @torch.no_grad()
    def answered(pixels):
        return golden.classifier.forward_with_features(preprocess.normalise(torch.stack(pixels)))

    for grid in golden_grids["grids"]:
        (item,) = stream(Grids(photographs, grid["side"], [grid["images"]], {}), [0], preprocess)
        whole = answered([item.pixels])
        assert list(whole.features.shape[2:]) == grid["map_size"]
        np.testing.assert_allclose(whole.logits[0, grid["classes"]], grid["logits_on_grid"], atol=2e-5)
        alone = answered([preprocess.pixels(photographs.load(place).image) for place in grid["images"]])
        probabilities = alone.logits.softmax(1)[range(len(grid["images"])), grid["classes"]]
        np.testing.assert_allclose(probabilities, grid["probability_alone"], atol=1e-5)


class _OfFeatures(Explainer):
    def __call__(self, classifier, images, classes, context=None):
        return self.changed(classifier.cams(context.features, classes[:, None])[:, 0])


@dataclass(frozen=True)
class Clamped(_OfFeatures):
    name, citation, cost = "clamped", "for the test", "0"

    def changed(self, maps):
        return maps.clamp(min=0)


@dataclass(frozen=True)
class Lifted(_OfFeatures):
    name, citation, cost = "lifted", "for the test", "0"

    def changed(self, maps):
        low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
        return (maps - low) / (high - low)
