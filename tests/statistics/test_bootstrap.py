"""Bootstrap intervals: against scipy, against an answer known by hand, and where a ratio is undefined."""

import numpy as np
import pytest
from scipy import stats

from xkd_eval.statistics.bootstrap import (
    all_images_means,
    clustered,
    left_out_means,
    resampled_means,
    scores_with_intervals,
)


def test_interval_of_a_mean_agrees_with_scipy():
    values = np.random.default_rng(3).exponential(size=200)
    ours = scores_with_intervals({"x": values}, {"mean": lambda means: means["x"]})["mean"]
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=1).confidence_interval
    assert ours["value"] == pytest.approx(values.mean())
    # 2,000 resamples place an end of the interval to about 3 % of its width.
    assert ours["ci95"] == pytest.approx(list(theirs), abs=0.03 * (theirs.high - theirs.low) * 2)


def test_a_ratio_is_recomputed_in_each_resample():
    numerator = np.array([1.0, 2.0, 3.0, 4.0] * 10)
    columns = {"above": 3 * numerator, "below": numerator}
    ratio = scores_with_intervals(columns, {"ratio": lambda means: means["above"] / means["below"]})["ratio"]
    assert ratio["value"] == pytest.approx(3.0)
    assert ratio["ci95"] == pytest.approx([3.0, 3.0])


def test_a_ratio_without_denominator_is_null():
    columns = {"above": np.ones(5), "below": np.zeros(5)}
    ratio = scores_with_intervals(columns, {"ratio": lambda means: means["above"] / means["below"]})["ratio"]
    assert ratio == {"value": None, "ci95": None}


def test_all_columns_share_their_resamples_and_keep_their_shape():
    values = np.random.default_rng(0).normal(size=30)
    means = resampled_means({"one": values, "two": np.stack([values, -values], 1)}, resamples=50)
    assert means["one"].shape == (50,)
    assert means["two"].shape == (50, 2)
    np.testing.assert_allclose(means["two"], np.stack([means["one"], -means["one"]], 1))


def test_blocks_do_not_change_the_draws(monkeypatch):
    values = np.random.default_rng(0).normal(size=1000)
    whole = resampled_means({"x": values}, resamples=64)["x"]
    generator = np.random.Generator(np.random.PCG64(0))
    slow = [values[generator.integers(0, 1000, 1000)].mean() for _ in range(64)]
    np.testing.assert_allclose(whole, slow)


def test_clusters_are_drawn_and_left_out_whole():
    values, clusters = np.arange(12.0), np.array([7, 7, 7, 2, 2, 5, 5, 5, 5, 9, 9, 9])
    columns = clustered({"x": values, "pair": np.stack([values, -values], 1)}, clusters)
    assert all_images_means(columns)["x"] == pytest.approx([values.mean()])
    members = [np.flatnonzero(clusters == number) for number in (2, 5, 7, 9)]
    without = [np.delete(values, places).mean() for places in members]
    assert left_out_means(columns)["x"] == pytest.approx(without)
    assert left_out_means(columns)["pair"][:, 1] == pytest.approx(-np.array(without))
    generator = np.random.Generator(np.random.PCG64(0))
    drawn = [np.concatenate([members[place] for place in generator.integers(0, 4, 4)]) for _ in range(20)]
    assert resampled_means(columns, resamples=20)["x"] == pytest.approx([values[places].mean() for places in drawn])


def test_clusters_of_one_change_nothing():
    values = np.random.default_rng(0).normal(size=50)
    score = {"mean": lambda means: means["x"]}
    alone = scores_with_intervals(clustered({"x": values}, np.arange(50)), score)["mean"]
    apart = scores_with_intervals(clustered({"x": values}, None), score)["mean"]
    assert alone["value"] == pytest.approx(apart["value"])
    assert alone["ci95"] == pytest.approx(apart["ci95"])


def test_images_that_are_alike_tell_no_more_than_one():
    values = np.random.default_rng(0).normal(size=40)
    score = {"mean": lambda means: means["x"]}
    once = scores_with_intervals({"x": values}, score)["mean"]
    thrice = scores_with_intervals(clustered({"x": np.repeat(values, 3)}, np.repeat(np.arange(40), 3)), score)["mean"]
    assert thrice["ci95"] == pytest.approx(once["ci95"])


def test_a_single_cluster_has_no_interval():
    columns = clustered({"x": np.arange(3.0)}, np.zeros(3, dtype=np.int64))
    assert scores_with_intervals(columns, {"mean": lambda means: means["x"]})["mean"] == {"value": 1.0, "ci95": None}
