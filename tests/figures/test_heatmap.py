"""Colours over a photo, on cases known by hand."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest

from xkd_eval.errors import XkdError
from xkd_eval.figures.heatmap import heatmap, scaled_region, shown_size


def _colour(name: str, value: float) -> np.ndarray:
    return np.rint(np.array(matplotlib.colormaps[name](value)[:3]) * 255).astype(np.uint8)


@pytest.fixture
def photo() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)


def test_alpha_0_is_the_photo(photo):
    np.testing.assert_array_equal(heatmap(photo, np.arange(6.0).reshape(2, 3), alpha=0).overlay, photo)


def test_alpha_1_is_the_map_with_the_colour_maps_ends_at_its_extremes(photo):
    saliency = np.arange(96.0).reshape(8, 12)
    shown = heatmap(photo, saliency, "viridis", alpha=1)
    np.testing.assert_array_equal(shown.overlay, shown.colours)
    np.testing.assert_array_equal(shown.overlay[7, 11], _colour("viridis", 1.0))
    np.testing.assert_array_equal(shown.overlay[0, 0], _colour("viridis", 0.0))
    assert (shown.low, shown.high) == (0, 95)


def test_half_alpha_is_the_mean_of_photo_and_map():
    white = np.full((1, 2, 3), 255, np.uint8)
    shown = heatmap(white, np.array([[0.0, 1.0]]), "gray", alpha=0.5)
    np.testing.assert_array_equal(shown.overlay[0, :, 0], [128, 255])


def test_the_map_is_upsampled_between_pixel_centres():
    # align_corners=False: of [0, 1] at four pixels, 0 and 1 stay at the border and 1/4, 3/4 lie between;
    # "gray" has 256 steps, so 3/4 is step 192.
    shown = heatmap(np.zeros((1, 4, 3), np.uint8), np.array([[0.0, 1.0]]), "gray")
    np.testing.assert_array_equal(shown.colours[0, :, 0], [0, 64, 192, 255])


def test_a_crop_leaves_the_photo_plain_around_it(photo):
    shown = heatmap(photo, np.array([[0.0, 1.0]]), "viridis", alpha=1, region=(2, 0, 10, 8))
    np.testing.assert_array_equal(shown.overlay[:, :2], photo[:, :2])
    np.testing.assert_array_equal(shown.overlay[:, 10:], photo[:, 10:])
    np.testing.assert_array_equal(shown.overlay[3, 2], _colour("viridis", 0.0))
    np.testing.assert_array_equal(shown.overlay[3, 9], _colour("viridis", 1.0))


def test_a_diverging_colour_map_has_zero_in_its_middle(photo):
    signed = heatmap(photo, np.array([[-1.0, 3.0]]), "RdBu_r")
    assert (signed.low, signed.high) == (-3, 3)
    positive = heatmap(photo, np.array([[1.0, 3.0]]), "RdBu_r")
    assert (positive.low, positive.high) == (1, 3)


@pytest.mark.parametrize(
    ("saliency", "note"),
    [
        (np.full((7, 7), 0.3), "constant"),
        (np.ones((1, 1)), "constant"),
        (np.array([[0.0, np.nan]]), "not finite"),
        (np.array([[0.0, np.inf]]), "not finite"),
    ],
)
def test_a_map_without_a_range_is_grey_and_says_why(photo, saliency, note):
    shown = heatmap(photo, saliency)
    assert shown.note == note
    assert len(np.unique(shown.colours)) == 1


def test_integer_and_half_precision_maps_are_taken(photo):
    for dtype in (np.int64, np.float16, bool):
        assert heatmap(photo, np.array([[0, 1]], dtype=dtype)).note == ""


def test_unknown_colour_maps_get_the_nearest_names(photo):
    with pytest.raises(XkdError, match=r"colormap: 'virdis' .*viridis"):
        heatmap(photo, np.eye(2), "virdis")


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_alpha_out_of_range_is_refused(photo, alpha):
    with pytest.raises(XkdError, match=r"alpha: .* expected 0"):
        heatmap(photo, np.eye(2), alpha=alpha)


def test_bad_shapes_and_regions_are_refused(photo):
    with pytest.raises(XkdError, match=r"map: shape \(3, 2, 2\)"):
        heatmap(photo, np.zeros((3, 2, 2)))
    with pytest.raises(XkdError, match=r"image: shape .* expected"):
        heatmap(photo / 255, np.eye(2))
    with pytest.raises(XkdError, match="leaves the photo of 12 x 8"):
        heatmap(photo, np.eye(2), region=(0, 0, 13, 8))


def test_huge_photos_shrink_and_small_ones_grow_by_whole_pixels():
    assert shown_size(np.zeros((1500, 3000, 3), np.uint8)).shape == (450, 900, 3)
    assert shown_size(np.zeros((1, 5000, 3), np.uint8)).shape == (1, 900, 3)
    assert shown_size(np.zeros((375, 500, 3), np.uint8)).shape == (375, 500, 3)
    small = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    grown = shown_size(small)
    assert grown.shape == (320, 320, 3)
    np.testing.assert_array_equal(grown[5::10, 5::10], small)


def test_a_region_follows_the_shown_size():
    photo = np.zeros((1500, 3000, 3), np.uint8)
    assert scaled_region((750, 0, 2250, 1500), photo, shown_size(photo)) == (225, 0, 675, 450)
