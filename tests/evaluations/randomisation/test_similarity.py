"""Measures of similarity against the libraries that compute them one pair at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from skimage.feature import hog
from skimage.metrics import structural_similarity as reference_ssim

from xkd_eval.errors import XkdError
from xkd_eval.evaluations.forms import unit
from xkd_eval.evaluations.randomisation.similarity import MEASURES, average_ranks, complexity, random_logit
from xkd_eval.resizing import resized

MEASURED = list(MEASURES)


@pytest.fixture
def pair():
    draw = torch.Generator().manual_seed(0)
    return torch.randn(3, 31, 24, generator=draw), torch.randn(3, 31, 24, generator=draw)


def similarity(name, maps, others):
    measure = MEASURES[name]
    return measure.compare(measure.prepare(maps), measure.prepare(others))


@pytest.mark.parametrize("values", [[3, 1, 2], [1, 1, 0, 1], [0.0, -0.0, -1, 5, 5], [-np.inf, 2, np.inf], [7]])
def test_equal_values_share_the_mean_of_their_ranks(values):
    np.testing.assert_array_equal(average_ranks(np.array(values, np.float32)), stats.rankdata(values))


def test_rank_correlations_are_scipys(pair):
    maps, others = (values.round() for values in pair)  # with ties
    for name, change in (("spearman", lambda values: values), ("absolute", torch.abs)):
        expected = [
            stats.spearmanr(change(a).flatten(), change(b).flatten())[0] for a, b in zip(maps, others, strict=True)
        ]
        np.testing.assert_allclose(similarity(name, maps, others), expected, rtol=1e-10)


def test_structural_similarity_is_skimages(pair):
    mixed = (pair[0], pair[0] + 0.3 * pair[1])
    pairs = list(zip(*(unit(values).double().numpy() for values in mixed), strict=True))
    expected = [reference_ssim(a, b, data_range=1.0) for a, b in pairs]
    np.testing.assert_allclose(similarity("ssim", *mixed), expected, rtol=1e-6)


def test_flattened_similarity_is_skimages_of_one_line(pair):
    expected = []
    for a, b in zip(*(values.double().flatten(1).numpy() for values in pair), strict=True):
        both = np.concatenate([a, b])
        expected.append(reference_ssim(a, b, data_range=both.max() - both.min()))
    np.testing.assert_allclose(random_logit("flattened", *pair), expected, rtol=1e-6)


@pytest.mark.parametrize("size", [(31, 24), (70, 45), (14, 28)])
def test_histograms_of_gradients_are_skimages(size):
    draw = torch.Generator().manual_seed(1)
    maps = torch.rand(2, 6, 5, generator=draw), torch.rand(2, 6, 5, generator=draw)
    large = [resized(values, size) for values in maps]
    cell = tuple(side // 14 for side in size)
    vectors = [[hog(values, pixels_per_cell=cell) for values in unit(made).double().numpy()] for made in large]
    expected = [stats.pearsonr(a, b)[0] for a, b in zip(*vectors, strict=True)]
    np.testing.assert_allclose(similarity("hog", *large), expected, atol=1e-6)


@pytest.mark.parametrize("name", MEASURED)
def test_a_map_is_like_itself_and_like_itself_at_another_scale(name, pair):
    np.testing.assert_allclose(similarity(name, pair[0], 3 * pair[0]), 1, atol=1e-5)
    assert (np.abs(similarity(name, *pair)) < 0.6).all()


def test_a_map_is_the_opposite_of_its_negative_but_for_magnitudes(pair):
    np.testing.assert_allclose(similarity("spearman", pair[0], -pair[0]), -1)
    np.testing.assert_allclose(similarity("absolute", pair[0], -pair[0]), 1)


def test_what_is_constant_has_no_rank_correlation(pair):
    flat = torch.ones_like(pair[0])
    for name in ("spearman", "absolute", "hog"):
        assert np.isnan(similarity(name, pair[0], flat)).all()


def test_complexity_is_the_entropy_of_the_histogram(pair):
    expected = [stats.entropy(np.histogram(values.numpy(), bins=20)[0]) for values in pair[0]]
    np.testing.assert_allclose(complexity(pair[0], 20), expected)
    halves = torch.tensor([[[0.0, 0.0, 1.0, 1.0]]])
    np.testing.assert_allclose(complexity(halves, 100), [np.log(2)])
    np.testing.assert_allclose(complexity(1 + 2.0**-23 * halves, 100), [np.log(2)])


def test_a_map_smaller_than_the_window_is_refused():
    with pytest.raises(XkdError, match=r"^size: maps of 6x9 pixels .* windows of 7x7; give a larger `size`"):
        similarity("ssim", torch.rand(1, 6, 9), torch.rand(1, 6, 9))
    with pytest.raises(XkdError, match=r"^size: maps of 2x9 pixels have no 3x3 cells"):
        similarity("hog", torch.rand(1, 2, 9), torch.rand(1, 2, 9))
