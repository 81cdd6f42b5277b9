from collections import Counter

import pytest

from tests.datasets.test_labels import Labels
from xkd_eval.datasets import limit
from xkd_eval.errors import XkdError


def dataset(**sizes):
    return Labels([label for label, size in sizes.items() for _ in range(size)], "name")


def counts(subset):
    return dict(Counter(subset.labels))


def test_shares_are_proportional():
    assert counts(limit(dataset(a=60, b=30, c=10), 10)) == {"a": 6, "b": 3, "c": 1}


def test_every_label_keeps_an_image_while_there_are_enough():
    assert counts(limit(dataset(a=98, b=1, c=1), 3)) == {"a": 1, "b": 1, "c": 1}
    assert counts(limit(dataset(a=98, b=1, c=1), 50)) == {"a": 48, "b": 1, "c": 1}


def test_fewer_images_than_labels_take_distinct_labels():
    labels = limit(dataset(a=5, b=5, c=5, d=5), 2).labels
    assert len(set(labels)) == 2


@pytest.mark.parametrize("n", [1, 2, 3, 7, 19, 63, 64])
def test_the_size_is_exact_and_no_image_comes_twice(n):
    subset = limit(dataset(a=40, b=17, c=5, d=2), n, seed=n)
    assert len(subset) == n
    assert len(set(subset.ids)) == n


def test_the_order_of_the_set_is_kept():
    whole = dataset(a=20, b=20)
    positions = [whole.ids.index(identifier) for identifier in limit(whole, 12).ids]
    assert positions == sorted(positions)


def test_the_seed_decides_and_the_place_in_the_set_does_not():
    whole = dataset(a=30, b=30)
    order = list(range(60))[::-1]
    backwards = Labels([whole.labels[k] for k in order], "name", ids=[whole.ids[k] for k in order])
    assert set(limit(whole, 10, 1).ids) == set(limit(backwards, 10, 1).ids)
    assert limit(whole, 10, 1).ids != limit(whole, 10, 2).ids


def test_the_sample_is_this_one_on_every_machine():
    assert limit(dataset(a=5, b=5), 4, seed=0).ids == ["image0", "image3", "image5", "image7"]


def test_a_set_without_labels():
    assert len(limit(Labels([None] * 9, "none"), 4)) == 4


def test_a_large_limit_changes_nothing():
    whole = dataset(a=3)
    assert limit(whole, 3) is whole
    assert limit(whole, 10) is whole


def test_nothing_is_no_limit():
    with pytest.raises(XkdError, match="limit: 0 images leave nothing"):
        limit(dataset(a=3), 0)
