"""Agreement of maps: known answers, scipy's versions image by image, and what must not matter."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.stats import spearmanr

from xkd_eval.evaluations.agreement.measures import MEASURES, map_agreement

SIZE = (16, 16)


@pytest.fixture
def maps():
    return torch.randn(6, 8, 8)


def test_a_map_agrees_with_itself_whatever_its_scale_and_offset(maps):
    for other in (maps, 3 * maps, 0.5 * maps + 7):
        found = map_agreement(maps, other, SIZE)
        assert tuple(found) == MEASURES
        for name in ("spearman", "cosine", "ssim", "top20_iou", "shared_saliency"):
            np.testing.assert_allclose(found[name], 1, atol=1e-4, err_msg=name)
        for name in ("js_divergence", "peak_distance"):
            np.testing.assert_allclose(found[name], 0, atol=1e-5, err_msg=name)


def test_a_negated_map_is_the_opposite(maps):
    found = map_agreement(maps, -maps, SIZE)
    np.testing.assert_allclose(found["spearman"], -1)
    assert (found["top20_iou"] == 0).all()


def test_against_scipy_image_by_image(maps):
    others = torch.randn(6, 8, 8)
    found = map_agreement(maps, others, SIZE)
    for place in range(6):
        ours, theirs = (values[place].double().flatten().numpy() for values in (maps, others))
        assert found["spearman"][place] == pytest.approx(spearmanr(ours, theirs).statistic)
        a, b = ours - ours.min(), theirs - theirs.min()
        assert found["js_divergence"][place] == pytest.approx(jensenshannon(a, b, base=2) ** 2)
        assert found["cosine"][place] == pytest.approx(a @ b / np.sqrt((a @ a) * (b @ b)))
        top, other_top = (set(np.argsort(-values)[:13]) for values in (ours, theirs))
        assert found["top20_iou"][place] == pytest.approx(len(top & other_top) / len(top | other_top))
        peak, other_peak = (np.array(np.unravel_index(values.argmax(), (8, 8))) for values in (ours, theirs))
        assert found["peak_distance"][place] == pytest.approx(np.linalg.norm(peak - other_peak) / np.hypot(8, 8))


def test_opposite_corners_are_a_diagonal_less_a_place_apart():
    maps = torch.zeros(1, 5, 5)
    others = maps.clone()
    maps[0, 0, 0] = others[0, 4, 4] = 1
    assert map_agreement(maps, others, SIZE)["peak_distance"][0] == pytest.approx(4 / 5)
    assert map_agreement(maps, others, SIZE)["js_divergence"][0] == pytest.approx(1)


def test_shared_saliency_by_hand():
    # Distributions (1/2, 1/2, 0, 0) and (1/4, 1/4, 1/2, 0) have half of their mass at the same places.
    ours, theirs = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]]), torch.tensor([[[1.0, 1.0], [2.0, 0.0]]])
    assert map_agreement(ours, theirs, SIZE)["shared_saliency"][0] == pytest.approx(0.5)
    assert map_agreement(3 * theirs + 7, ours, SIZE)["shared_saliency"][0] == pytest.approx(0.5)


def test_the_coarser_map_is_brought_to_the_finer(maps):
    coarse = torch.randn(6, 4, 4)
    up = torch.nn.functional.interpolate(coarse[:, None], size=(8, 8), mode="bilinear")[:, 0]
    ours, expected = map_agreement(maps, coarse, SIZE), map_agreement(maps, up, SIZE)
    for name in ("spearman", "cosine", "top20_iou", "js_divergence", "peak_distance"):
        np.testing.assert_allclose(ours[name], expected[name], err_msg=name)


def test_it_is_symmetric(maps):
    others = torch.randn(6, 5, 7)
    ours, theirs = map_agreement(maps, others, SIZE), map_agreement(others, maps, SIZE)
    for name in MEASURES:
        np.testing.assert_allclose(ours[name], theirs[name], err_msg=name)


def test_maps_without_an_order_correlate_with_none_but_each_other(maps):
    constant = torch.full_like(maps, 3.0)
    broken = maps.clone()
    broken[:, 0, 0] = torch.nan
    for other in (constant, broken):
        found = map_agreement(maps, other, SIZE)
        assert (found["spearman"] == 0).all()
        assert all(np.isfinite(values).all() for values in found.values())
    both = map_agreement(constant, constant, SIZE)
    assert (both["spearman"] == 1).all()
    assert (both["ssim"] == 1).all()


def test_a_map_without_an_order_agrees_with_its_like_alone(maps):
    nothing = torch.full((6, 8, 8), float("nan"))
    found = map_agreement(maps, nothing, SIZE)
    for name, values in found.items():
        assert (values == (1 if name in ("js_divergence", "peak_distance") else 0)).all(), name
    alike = map_agreement(nothing, torch.ones(6, 8, 8), SIZE)
    for name, values in alike.items():
        assert (values == (0 if name in ("js_divergence", "peak_distance") else 1)).all(), name


def test_places_at_the_minimum_are_never_among_the_highest():
    ours, theirs = torch.zeros(1, 8, 8), torch.zeros(1, 8, 8)
    ours[0, 0, 0] = theirs[0, 7, 7] = 1
    assert map_agreement(ours, theirs, SIZE)["top20_iou"][0] == 0
