"""More images than are drawn one by one: random groups of them say of the interval what the images do."""

from __future__ import annotations

import numpy as np
import pytest

from xkd_eval.statistics import groups
from xkd_eval.statistics.bootstrap import all_images_means, clustered, scores_with_intervals
from xkd_eval.statistics.groups import GROUPS, MEMBERS, GroupSums, add_rows


def drawn(count: int, seed: int = 0) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {"hit": generator.random(count) < 0.75, "curve": generator.random((count, 2), dtype=np.float32)}


def test_as_many_images_as_groups_stay_what_they_are():
    columns = drawn(GROUPS)
    sums = GroupSums()
    for start in (0, 20_000):
        sums.add({name: values[start : start + (20_000 if not start else GROUPS)] for name, values in columns.items()})
    for found in (sums.columns(), clustered(columns, None)):
        assert found.keys() == columns.keys()
        assert all(np.array_equal(found[name], columns[name]) for name in columns)


def test_the_sums_are_those_of_each_image_in_its_turn(monkeypatch):
    monkeypatch.setattr(groups, "GROUPS", 7)
    columns = drawn(60)
    places = (np.random.Generator(np.random.PCG64(groups._SEED)).random(60) * 7).astype(int)
    members, hits, curves = np.zeros(7), np.zeros(7), np.zeros((7, 2))
    for image, place in enumerate(places):
        members[place] += 1
        hits[place] += columns["hit"][image]
        curves[place] += columns["curve"][image]
    found = clustered(columns, None)
    assert np.array_equal(found[MEMBERS], members) and np.array_equal(found["hit"], hits)
    assert np.array_equal(found["curve"], curves)


@pytest.mark.parametrize("sizes", [[60_000, 60_001], [1, 2, 119_998], [40_000, 40_000, 40_001]])
def test_no_bit_depends_on_the_blocks(sizes):
    columns = drawn(120_001)
    whole = clustered(columns, None)
    sums = GroupSums()
    for end, size in zip(np.cumsum(sizes), sizes, strict=True):
        sums.add({name: values[end - size : end] for name, values in columns.items()})
    found = sums.columns()
    assert found.keys() == whole.keys() and all(np.array_equal(found[name], whole[name]) for name in whole)


def test_means_are_those_over_images():
    columns = drawn(200_000)
    means = all_images_means(clustered(columns, None))
    assert means["hit"] == pytest.approx([columns["hit"].mean()], abs=1e-14)
    assert means["curve"][0] == pytest.approx(columns["curve"].astype(np.float64).mean(0), abs=1e-12)


@pytest.mark.parametrize("order", ["random", "sorted"])
def test_intervals_are_as_wide_as_the_normal_distribution_makes_them(order):
    hits = drawn(400_000)["hit"]
    hits = np.sort(hits) if order == "sorted" else hits  # as a data set whose classes come one after the other
    score = scores_with_intervals(clustered({"hit": hits}, None), {"accuracy": lambda means: means["hit"]})["accuracy"]
    low, high = score["ci95"]
    share = hits.mean()
    # 2,000 draws know the width to about 2 %.
    assert score["value"] == pytest.approx(share, abs=1e-14)
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(share * (1 - share) / len(hits)), rel=0.06)
    assert (high + low) / 2 == pytest.approx(share, abs=0.1 * (high - low))


def test_a_rare_event_keeps_its_skewed_interval():
    """40 hits among 200,000 images: Poisson's interval of 40 reaches from 28.6 to 54.5, 11.4 down and 14.5 up."""
    hits = np.zeros(200_000)
    hits[np.random.default_rng(1).choice(200_000, 40, replace=False)] = 1
    columns = clustered({"hit": hits}, None)
    low, high = scores_with_intervals(columns, {"share": lambda means: means["hit"]})["share"]["ci95"]
    down, up = 40 - 200_000 * low, 200_000 * high - 40
    assert 10 < down < 13 and 12 < up < 16 and up > down


def test_photographs_of_several_labels_stay_together(monkeypatch):
    monkeypatch.setattr("xkd_eval.statistics.bootstrap.GROUPS", 5)
    monkeypatch.setattr(groups, "GROUPS", 5)
    photographs = np.repeat(np.arange(40), 3)
    found = clustered({"value": photographs.astype(float)}, photographs)
    assert len(found[MEMBERS]) == 5 and (found[MEMBERS] % 3 == 0).all() and found[MEMBERS].sum() == 120
    assert found["value"].sum() == photographs.sum()


def test_rows_are_added_at_their_places():
    sums = np.zeros((2, 3))
    add_rows(sums, np.array([2, 0, 2]), np.array([[1, 10], [2, 20], [3, 30]]))
    assert sums.tolist() == [[2, 0, 4], [20, 0, 40]]
