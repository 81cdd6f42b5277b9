"""Sparseness and complexity: by hand, rederived slowly, as the peers' own code printed them, and what is refused."""

import math

import numpy as np
import pytest
import torch

from tests.evaluations.conftest import batch_of
from xkd_eval import Preprocess, evaluate
from xkd_eval.datasets.embedded import EmbeddedDataset
from xkd_eval.errors import XkdError
from xkd_eval.evaluations.complexity.measures import effective_count, entropy, gini_index
from xkd_eval.evaluations.complexity.options import ComplexityOptions
from xkd_eval.evaluations.complexity.test import ComplexityTest
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.testing import check_test


def rows_of(maps: list, **options):
    given = torch.tensor(maps)
    test = ComplexityTest.create(Rules(), ComplexityOptions(**options))
    size = tuple(given.shape[1:])
    pixels = torch.zeros(len(given), 3, *size, dtype=torch.uint8)
    batch = batch_of(pixels, given, lambda images: torch.zeros(len(images), 2), [0] * len(given), Preprocess(size=size))
    return test.rows(batch)


@pytest.mark.parametrize(
    ("values", "gini", "nats"),
    [([1, 2, 3, 4], 0.25, 1.27985), ([0, 0, 1, 0], 0.75, 0), ([5] * 7, 0, math.log(7))],
)
def test_by_hand(values, gini, nats):
    assert gini_index(np.array([values])).item() == pytest.approx(gini, abs=1e-12)
    assert entropy(np.array([values])).item() == pytest.approx(nats, abs=5e-6)


def test_of_a_map_by_hand():
    found = rows_of([[[1.0, 2], [3, 4]], [[0, 0], [1, 0]], [[-4, 3], [-2, 1]]], form="absolute")
    np.testing.assert_allclose(found["sparseness"], [0.25, 0.75, 0.25], atol=1e-7)
    np.testing.assert_allclose(found["complexity"], [1.27985, 0, 1.27985], atol=5e-6)
    assert "effective_complexity" not in found
    # Min-maxed first, the smallest value is nothing.
    assert rows_of([[[1.0, 2], [3, 4]]])["sparseness"].item() == pytest.approx(10 / 24)


def test_of_random_maps_it_is_a_slow_rederivation():
    values = np.random.default_rng(0).random((5, 30))
    for row, gini, nats in zip(values, gini_index(values), entropy(values), strict=True):
        # Half the mean absolute difference of two values, relative to the mean.
        difference = np.mean([abs(a - b) for a in row for b in row])
        assert gini == pytest.approx(difference / (2 * row.mean()))
        assert nats == pytest.approx(-sum(value / row.sum() * math.log(value / row.sum()) for value in row))


def test_of_nothing_they_are_undefined():
    assert np.isnan(gini_index(np.zeros((1, 3)))).all() and np.isnan(entropy(np.zeros((1, 3)))).all()
    np.testing.assert_array_equal(effective_count(np.array([[0.0, 0.1, 0.2]]), 0.1), [1])


@pytest.mark.parametrize("form", ["minmax", "relu", "absolute"])
def test_a_degenerate_map_is_counted_and_scored_as_a_random_one(form):
    found = rows_of([[[2.0] * 8] * 8, [[math.nan] * 8] * 8, [[float(i == 0)] * 8 for i in range(8)]], form=form)
    np.testing.assert_array_equal(found["degenerate"], [True, True, False])
    uniform = np.arange(64) / 63
    np.testing.assert_allclose(found["sparseness"][:2], gini_index(uniform[None]).item(), atol=1e-6)


GOLDEN = [
    ("complexity/quantus/minmax", "quantus", "minmax", "complexity", 1e-4),
    ("complexity/quantus/relu", "quantus", "relu", "complexity", 1e-4),
    ("complexity/xplique/minmax", "xplique", "minmax", "complexity", 1e-4),
    ("sparseness/quantus/minmax", "quantus", "minmax", "sparseness", 1e-4),
    ("sparseness/quantus/relu", "quantus", "relu", "sparseness", 1e-4),
    ("sparseness/xplique/minmax", "xplique", "minmax", "sparseness", 1e-4),
    # Counts of pixels: one may be on the threshold to the last bit.
    ("effective_complexity/quantus/minmax", "quantus", "minmax", "effective_complexity", 1),
    ("effective_complexity/quantus/relu", "quantus", "relu", "effective_complexity", 1),
    ("effective_complexity_0.01/quantus/minmax", "latec", "minmax", "effective_complexity", 1),
    ("effective_complexity_0.01/quantus/relu", "latec", "relu", "effective_complexity", 1),
]


@pytest.fixture(scope="module")
def runs(golden):
    """Each preset and form once."""
    wanted = dict.fromkeys((preset, form) for _, preset, form, _, _ in GOLDEN)
    # Stored maps come at the size at which they are scored: what is negative at 7x7 is made again by the CAM itself.
    return {
        key: golden.run(f"complexity:preset={key[0]},form={key[1]}", maps=None if key[1] == "relu" else "source")
        for key in wanted
    }


@pytest.mark.parametrize(("entry", "preset", "form", "score", "tolerance"), GOLDEN)
def test_the_peers_numbers(golden, runs, entry, preset, form, score, tolerance):
    expected = golden.metrics[entry]["per_image"]
    np.testing.assert_allclose(runs[preset, form].columns[score], expected, rtol=0, atol=tolerance)


def test_the_paper_departs_from_nothing_and_others_say_how():
    images = EmbeddedDataset("test", size=4)
    paper, quantus, own = (
        evaluate("embedded/kd", images, tests=f"complexity{options}").results[0]
        for options in ("", ":preset=quantus", ":form=relu")
    )
    assert paper.summary["preset"] == {"name": "paper", "departs_from_paper": None}
    assert "effective_complexity" not in paper.summary and "effective_complexity" in quantus.summary
    assert quantus.test.notes(quantus.summary)[0].startswith("preset quantus: effective complexity counts values")
    assert own.summary["preset"]["name"] == "own"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("preset=torchcam", r"preset is 'torchcam'; expected 'paper', 'quantus'"),
        ("form=softmax", r"form is 'softmax'; expected 'minmax'"),
        ("eps=1", r"eps"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(XkdError, match=message):
        evaluate("embedded/kd", EmbeddedDataset("test", size=2), tests=f"complexity:{options}")


@pytest.mark.parametrize("preset", ["paper", "quantus"])
def test_it_keeps_the_contract(preset):
    check_test(f"complexity:preset={preset}")
