"""Faithfulness as Quantus printed it, through the public interface, with its own draws."""

import numpy as np
import pytest

from xkd_eval.evaluations.faithfulness import measures


@pytest.fixture
def quantus_draws(golden, monkeypatch):
    """Quantus draws by NumPy's global generator, seeded by an image's place: the same draws stand for ours."""
    place = golden.photographs.ids.index
    monkeypatch.setattr(measures, "image_generator", lambda name, *purpose: np.random.RandomState(place(name)))


# A forward is 35 ms: 3 images of those that take 50 or 60 of them each.
FEW = (0, 3, 9)


@pytest.mark.usefixtures("quantus_draws")
@pytest.mark.parametrize(
    ("entry", "options", "maps"),
    [
        ("faithfulness_correlation/quantus/224", "quantus,fill=mean,samples=50", "source"),
        ("faithfulness_correlation/quantus/15053", "quantus,fill=mean,samples=50,removed=0.1", "source"),
        ("faithfulness_estimate/quantus/tie_free3", "quantus-estimate", "tie_free"),
        ("monotonicity_correlation/quantus/tie_free3", "quantus-monotonicity-correlation", "tie_free"),
    ],
)
def test_the_peers_numbers(golden, entry, options, maps):
    found = golden.run(f"faithfulness:preset={options}", maps, places=FEW)
    expected = np.array(golden.metrics[entry]["per_image"])[list(FEW)]
    np.testing.assert_allclose(found.columns[entry.partition("/")[0]], expected, rtol=0, atol=1e-4)


def test_one_correlation_a_step_over_images(golden):
    found = golden.run("faithfulness:preset=quantus-sensitivity-n", "source")
    curve = [point["value"] for point in found.summary["sensitivity_n_curve"]]
    entry = golden.metrics["sensitivity_n/quantus/minmax"]
    # Loose: Quantus sorts the three equal values of a pixel, and equal pixels, unstably: 0.0044 at most.
    np.testing.assert_allclose(curve, entry["per_image"], atol=0.005)
