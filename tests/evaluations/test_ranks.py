"""Removal order: ties by the permutation, minus zero, degenerate maps, and the same order as a slow sort."""

import math

import pytest
import torch

from xkd_eval.evaluations.ranks import RemovalOrder, is_degenerate, tie_permutation, upsample

CPU = torch.device("cpu")


def slow_ranks(values: list[float], place: list[int]) -> list[int]:
    """Most relevant first, equal values by their place in the permutation."""
    order = sorted(range(len(values)), key=lambda pixel: (-values[pixel], place[pixel]))
    ranks = [0] * len(values)
    for rank, pixel in enumerate(order):
        ranks[pixel] = rank
    return ranks


@pytest.mark.parametrize("seed", [0, 1])
def test_order_is_that_of_a_slow_sort(seed):
    maps = torch.tensor([[[0.0, -0.0, 1.5], [-2.0, 1.5, 1.5]], [[-1.0, -3.0, 0.5], [0.0, 2.0, -0.5]]])
    order = RemovalOrder((2, 3), seed, CPU)
    place = [0] * 6
    for position, pixel in enumerate(tie_permutation(6, seed).tolist()):
        place[pixel] = position
    descending, _ = order.descending(maps)
    for image in range(2):
        values = maps[image].flatten().tolist()
        assert descending[image].flatten().tolist() == slow_ranks(values, place)
        negated = [-value for value in values]
        assert order.ascending(maps)[image].flatten().tolist() == slow_ranks(negated, place)


def test_tie_share_counts_pixels_whose_value_recurs():
    maps = torch.tensor([[[0.0, -0.0, 1.0, 2.0]], [[1.0, 2.0, 3.0, 4.0]], [[5.0, 5.0, 5.0, 5.0]]])
    _, share = RemovalOrder((1, 4), 0, CPU).descending(maps)
    assert share.tolist() == [0.5, 0.0, 1.0]


def test_an_unclamped_7x7_map_ties_27_percent_of_its_pixels():
    maps = upsample(torch.randn(4, 7, 7), (224, 224))
    _, share = RemovalOrder((224, 224), 0, CPU).descending(maps)
    assert share.mean().item() == pytest.approx(0.27, abs=0.01)


def test_the_permutation_is_a_permutation_and_fixed():
    permutation = tie_permutation(1000, 0)
    assert permutation.sort().values.tolist() == list(range(1000))
    assert permutation[:5].tolist() == tie_permutation(1000, 0)[:5].tolist()
    assert permutation.tolist() != tie_permutation(1000, 1).tolist()
    # Written down once: another machine, another NumPy, the same removal order.
    assert tie_permutation(8, 0).tolist() == [2, 4, 6, 5, 1, 7, 0, 3]


def test_degenerate_maps_are_recognised_and_flattened():
    good = torch.tensor([[0.0, 1.0], [2.0, 3.0]])
    maps = torch.stack([good, torch.ones(2, 2), good * math.nan, torch.where(good > 2, math.inf, good)])
    assert is_degenerate(maps).tolist() == [False, True, True, True]
    larger = upsample(maps, (4, 4))
    assert larger.isfinite().all()
    assert (larger[1:] == 0).all()


@pytest.mark.parametrize("exponent", [127, 110, 60, -60, -100, -120])
def test_a_map_ranks_the_same_at_both_ends_of_float32(exponent):
    maps = torch.randn(2, 7, 7)
    maps /= maps.abs().amax((1, 2), keepdim=True)
    maps[maps.abs() < 1e-2] = 0  # of which nothing is rounded
    plain, scaled = (upsample(values, (28, 28)) for values in (maps, maps * 2.0**exponent))
    order = RemovalOrder((28, 28), 0, CPU)
    for ours, theirs in zip(order.descending(scaled), order.descending(plain), strict=True):
        assert torch.equal(ours, theirs)
    low, high = (bound(scaled, (1, 2), keepdim=True) for bound in (torch.amin, torch.amax))
    assert ((scaled - low) / (high - low)).isfinite().all() and scaled.sum((1, 2)).isfinite().all()


def test_whole_ranges_and_denormals_are_no_degenerate_maps():
    maps = torch.tensor([[[-3e38, 3e38], [0.0, 1.0]], [[0.0, 1e-45], [0.0, 0.0]]])
    assert not is_degenerate(maps).any()
    larger = upsample(maps, (4, 4))
    assert larger.flatten(1).argmax(1).tolist() == [3, 3]
    assert (larger.amax((1, 2)) - larger.amin((1, 2))).isfinite().all() and (larger[1] > 0).sum() == 9
