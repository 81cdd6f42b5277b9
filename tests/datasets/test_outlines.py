"""COCO's outlines against masks that are known by hand, and its text of run lengths against its own published rule."""

from __future__ import annotations

import numpy as np
import pytest

from xkd_eval.datasets.outlines import Outlined, boxes_within, covered, outline_of

SIZE = (4, 5)
# Column by column: 5 pixels of background, 2 of object, 2 of background, 2 of object, the rest background.
RUNS = [5, 2, 2, 2, 9]
MASK = np.array([[0, 0, 0, 0, 0], [0, 1, 1, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 0, 0]], dtype=bool)


def packed(counts: list[int]) -> str:
    """rleToString of COCO's API, as it is published in C."""
    text = ""
    for place, count in enumerate(counts):
        value = count - counts[place - 2] if place > 2 else count
        more = True
        while more:
            digit = value & 0x1F
            value >>= 5
            more = value != -1 if digit & 0x10 else value != 0
            text += chr((digit | 0x20 if more else digit) + 48)
    return text


def test_run_lengths_are_of_columns_and_begin_with_background():
    assert np.array_equal(covered(outline_of({"size": [4, 5], "counts": RUNS}, SIZE), SIZE), MASK)


def test_run_lengths_as_text():
    # 5, 2, 2 as they are; then 2 - 2 and 9 - 2, each one character from "0" on.
    assert packed(RUNS) == "52207"
    assert np.array_equal(covered(outline_of({"size": [4, 5], "counts": "52207"}, SIZE), SIZE), MASK)


def test_long_and_falling_runs_as_text():
    generator = np.random.default_rng(0)
    for _ in range(50):
        counts = generator.integers(0, 10 ** generator.integers(1, 7), generator.integers(1, 20)).tolist()
        size = (1, sum(counts)) if sum(counts) else (1, 1)
        if sum(counts):
            assert outline_of({"size": list(size), "counts": packed(counts)}, size).tolist() == counts


@pytest.mark.parametrize(
    "corners",
    [[1, 1, 3, 1, 3, 3, 1, 3], [1.2, 1.2, 2.8, 1.2, 2.8, 2.8, 1.2, 2.8]],
    ids=["at the pixels' edges", "within, around their centres"],
)
def test_a_polygon_covers_the_pixels_whose_centre_it_holds(corners):
    assert np.array_equal(covered(outline_of([corners], SIZE), SIZE), MASK)


def test_two_polygons_are_one_object():
    found = covered(outline_of([[0, 0, 1, 0, 1, 1, 0, 1], [4, 3, 5, 3, 5, 4, 4, 4]], SIZE), SIZE)
    assert np.argwhere(found).tolist() == [[0, 0], [3, 4]]


def test_what_is_ignored_lies_below_the_object():
    crowd = outline_of([[0, 0, 2, 0, 2, 4, 0, 4]], SIZE)
    mask = Outlined(SIZE, (outline_of({"size": [4, 5], "counts": RUNS}, SIZE),), (crowd,), np.zeros((0, 4))).mask()
    assert mask.tolist() == [[-1, -1, 0, 0, 0], [-1, 1, 1, 0, 0], [-1, 1, 1, 0, 0], [-1, -1, 0, 0, 0]]
    assert mask.dtype == np.int8


@pytest.mark.parametrize(
    ("segmentation", "said"),
    [
        ({"size": [4, 5], "counts": [5, 2]}, r"run lengths of 7 pixels, and the image has 20"),
        ({"size": [5, 4], "counts": RUNS}, r"run lengths of an image of \[5, 4\], and the image is \[4, 5\]"),
        ({"size": [4, 5], "counts": [5, -1, 16]}, r"run lengths of 20 pixels"),
        ({"size": [4, 5], "counts": [5, 2.5]}, r"neither whole numbers nor text"),
        ({"size": [4, 5], "counts": "5Q"}, r"end within a number"),
        ({"size": [4, 5], "counts": "5 "}, r"no run lengths as text"),
        ({"size": [4, 5], "counts": "ooooooooo"}, r"no run lengths as text"),
        ([[1, 1, 2, 2]], r"not of x and y of three corners or more"),
        ([[1, 1, 9, 1, 2, 2]], r"the corner 9 1, outside of the image of 5x4"),
        ([[1, 1, float("nan"), 1, 2, 2]], r"the corner nan 1, outside"),
        ([], r"neither polygons nor run lengths"),
        ("a", r"neither polygons nor run lengths"),
    ],
    ids=lambda value: None if isinstance(value, str) and " " in value else str(value)[:30],
)
def test_what_is_no_outline_of_the_image(segmentation, said):
    with pytest.raises(ValueError, match=said):
        outline_of(segmentation, SIZE)


def test_boxes_are_cut_at_the_edge_and_refused_beyond_it():
    assert boxes_within([(0, 0, 5, 4), (1, 1, 2, 2)], SIZE).tolist() == [[0, 0, 4, 3], [1, 1, 2, 2]]
    with pytest.raises(ValueError, match=r"outside of the image of 5x4"):
        boxes_within([(0, 0, 6, 3)], SIZE)
