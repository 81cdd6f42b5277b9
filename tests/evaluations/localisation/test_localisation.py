"""The localisation test: answers by hand, a slow re-derivation, what becomes of odd images, and bad input."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

import xkd_eval
from tests.evaluations.localisation.scoring import SIZE, block, made, scored
from xkd_eval.evaluations.localisation.found_boxes import iou_by_level, iou_of
from xkd_eval.evaluations.localisation.one_image import covered, on_the_map
from xkd_eval.evaluations.localisation.pointing import energy_within, points_at, roc_area, top_shares
from xkd_eval.evaluations.localisation.scores import CURVE, hits


def test_a_perfect_map_overlaps_by_98_percent():
    # The published box ends one past the last pixel.
    rows, summary = scored([block(50, 60, 149, 159)], [[[60, 50, 159, 149]]])
    assert rows["best_iou"].item() == pytest.approx(10000 / 10201)
    assert rows["box"].tolist() == [[60, 50, 160, 150]]
    assert (summary["max_box_acc"]["value"], summary["max_box_acc_v2"]["value"]) == (1, 1)


def test_a_corner_is_scaled_and_cut():
    assert on_the_map(np.array([[111, 108, 441, 193]]), (375, 500), (224, 224)).tolist() == [[49, 64, 197, 115]]


def test_a_hole_is_a_contour_of_its_own():
    ring = block(20, 20, 199, 199) - block(80, 90, 120, 140)
    hole = [[90, 80, 140, 120]]
    rows, summary = scored([ring], [hole])
    assert rows["best_iou"] < 0.1
    # The hole's contour runs along the pixels around it.
    assert rows["best_iou_of_all"].item() == pytest.approx((51 * 41) / (54 * 44))
    assert (summary["max_box_acc"]["value"], summary["max_box_acc_v2"]["value"]) == (0, 1)


def test_a_box_at_the_maps_end_is_cut():
    rows, _ = scored([block(100, 100, 223, 223)], [[[100, 100, 223, 223]]])
    assert rows["box"].tolist() == [[100, 100, 223, 223]]
    assert rows["best_iou"].item() == 1


def test_the_best_box_of_several_counts():
    rows, _ = scored([block(50, 60, 149, 159)], [[[0, 0, 10, 10], [60, 50, 159, 149]]])
    assert rows["best_iou"].item() == pytest.approx(10000 / 10201)


def test_one_threshold_holds_for_the_whole_set():
    # Each map has its box at another threshold: half of the images are found at any.
    low = np.where(block(50, 50, 149, 149) > 0, 0.5, 0.0) + 0.5 * block(90, 90, 99, 99)
    high = 0.4 + 0.1 * block(10, 10, 200, 200) + 0.5 * block(90, 90, 99, 99)
    rows, summary = scored([low, high], [[[50, 50, 149, 149]], [[90, 90, 99, 99]]])
    assert (rows["best_iou"] > 0.8).all()
    # The second is min-maxed: its ring lies at .1 / .6, below the first's half.
    assert summary["max_box_acc"]["value"] == 1
    assert summary["best_threshold"]["largest_50"] == [0.165, 0.498]  # from 1 / 6 to 1 / 2, in 255ths
    assert summary["fixed"]["gt_known"]["value"] == 1
    _, at_half = scored([low, high], [[[50, 50, 149, 149]], [[90, 90, 99, 99]]], threshold=0.6)
    assert at_half["fixed"]["gt_known"]["value"] == 0.5


def test_a_localisation_is_right_in_class_and_place():
    maps = [block(50, 60, 149, 159)] * 4
    logits = [[3.0, 2, 1, 0, 0, 0, 0], [2.0, 3, 1, 0, 0, 0, 0], [-1.0, 3, 2, 2, 2, 2, 0], [3.0, 2, 1, 0, 0, 0, 0]]
    boxes = [[[60, 50, 159, 149]]] * 3 + [[[0, 0, 20, 20]]]
    rows, summary = scored(maps, boxes, logits=logits)
    assert (rows["top1"].tolist(), rows["top5"].tolist()) == ([True, False, False, True], [True, True, False, True])
    assert summary["max_box_acc"]["value"] == summary["fixed"]["gt_known"]["value"] == 0.75
    assert summary["top1_localisation"]["value"] == summary["fixed"]["top1"]["value"] == 0.25
    assert summary["top5_localisation"]["value"] == summary["fixed"]["top5"]["value"] == 0.5


def test_uniform_energy_is_the_share_of_the_area():
    region = covered(np.array([[0, 0, 111, 223]]), (SIZE, SIZE))
    assert energy_within(np.ones((SIZE, SIZE)), region) == 0.5


@pytest.mark.parametrize("preset", ["choe2020", "ebp", "quantus", "score-cam"])
def test_a_map_that_is_the_mask(preset):
    mask = block(50, 60, 149, 159)
    rows, summary = scored(
        [mask], [[[60, 50, 159, 149]]], masks=mask[None].astype(np.int8), regions="masks", preset=preset
    )
    for name in ("energy_pointing_game", "relevance_rank_accuracy", "pointing_game", "top_k_intersection"):
        assert rows[name].item() == 1
    assert "top1" not in rows
    assert "top1_localisation" not in summary


def test_the_tolerance_is_an_open_disc():
    point, region = np.zeros((40, 40)), np.zeros((40, 40), dtype=bool)
    point[10, 10], region[10, 13] = 1, True
    assert not points_at(point, region, 3, "first", 0)
    assert points_at(point, region, 3.01, "first", 0)
    region[10, 10] = True
    assert points_at(point, region, 1, "first", 0)


def test_equal_maxima():
    values, region = np.zeros((8, 8)), np.zeros((8, 8), dtype=bool)
    values[1, 1] = values[6, 6] = 1
    region[6, 6] = True
    assert [points_at(values, region, 1, peak, 0) for peak in ("first", "any")] == [False, True]
    assert {points_at(values, region, 1, "permutation", seed) for seed in range(8)} == {False, True}


def test_the_tolerance_follows_the_maps_size():
    # 15 of 224 pixels are 30 of 448, and 4.3 of 64.
    for side, near, far in ((448, 29, 30), (64, 4, 5)):
        for distance, hit in ((near, 1), (far, 0)):
            peak = np.zeros((side, side))
            peak[side // 2, side // 2] = 1
            at = side // 2 + distance
            rows, _ = scored([peak], [[[at, side // 2, at, side // 2]]], side=side)
            assert rows["pointing_game"].item() == hit


def test_pointing_by_class_is_the_mean_of_classes():
    hit, miss = block(100, 100, 110, 110), block(0, 0, 5, 5)
    box = [[100, 100, 110, 110]]
    rows, summary = scored([hit, hit, hit, miss], [box] * 4, logits=[[1.0, 0]] * 4, labels=[0, 0, 0, 1])
    assert rows["pointing_game"].tolist() == [1, 1, 1, 0]
    assert summary["pointing_game"]["value"] == 0.75
    assert summary["pointing_game_by_class"]["value"] == 0.5


def test_ranks_and_roc_by_hand():
    ranks, region = np.array([[0, 1], [2, 3]]), np.array([[True, False], [True, False]])
    assert top_shares(ranks, region, 1) == (0.5, 1.0)
    assert roc_area(np.array([4.0, 3, 2, 1]), region.ravel()) == 0.75
    assert roc_area(np.ones(4), region.ravel()) == 0.5
    assert np.isnan(roc_area(np.ones(2), np.array([True, True])))


def test_ignored_pixels_enter_no_energy():
    mask = block(50, 60, 149, 159).astype(np.int8)
    mask[:50] = -1
    spread = block(0, 0, 223, 223) + block(50, 60, 149, 159)
    spread[0, 0] = 0
    rows, _ = scored([spread], [[[60, 50, 159, 149]]], masks=mask[None], regions="masks")
    assert rows["energy_pointing_game"].item() == pytest.approx(20000 / (174 * 224 + 10000), rel=1e-4)


def test_images_without_an_object_enter_no_score():
    mask = block(50, 60, 149, 159)
    masks = np.stack([mask, np.zeros_like(mask)]).astype(np.int8)
    rows, summary = scored([mask, mask], [[[60, 50, 159, 149]], []], masks=masks, regions="masks")
    assert rows["has_object"].tolist() == [True, False]
    assert summary["without_object"] == 1
    assert summary["max_box_acc"]["value"] == summary["pointing_game"]["value"] == 1
    test = made(regions="masks")
    for spec in test.specs():
        if spec.per_image is not None:
            assert np.isnan(spec.per_image(rows)).tolist() == [False, True], spec.name


def test_a_constant_map_is_a_random_one():
    rows, _ = scored([np.ones((7, 7))], [[[60, 50, 159, 149]]])
    assert rows["degenerate"].item()
    assert rows["pointing_game"].item() in (0, 1)


def slowly(values, truth, largest):
    """As the published code goes through its 1000 thresholds, one contour after the other."""
    found = np.zeros((2, 1000))
    for step in range(1000):
        above = cv2.threshold(values, int(step / 1000 * values.max()), 255, cv2.THRESH_BINARY)[1]
        contours = list(cv2.findContours(above, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0])
        one = max(contours, key=cv2.contourArea)
        if largest == "component":
            labels = cv2.connectedComponents(above)[1]
            at = np.nonzero(labels == np.bincount(labels[labels > 0]).argmax())
            one = np.stack([at[1], at[0]], 1).astype(np.int32)[:, None]
        for row, chosen in enumerate(([one], contours)):
            for contour in chosen:
                x, y, width, height = cv2.boundingRect(contour)
                x1, y1 = min(x + width, values.shape[1] - 1), min(y + height, values.shape[0] - 1)
                for x0_, y0_, x1_, y1_ in truth:
                    wide, high = min(x1, x1_) - max(x, x0_) + 1, min(y1, y1_) - max(y, y0_) + 1
                    common = max(wide, 0) * max(high, 0)
                    union = (x1 - x + 1) * (y1 - y + 1) + (x1_ - x0_ + 1) * (y1_ - y0_ + 1) - common
                    found[row, step] = max(found[row, step], common / union)
    return found


@pytest.mark.parametrize("largest", ["contour", "component"])
@pytest.mark.parametrize("cells", [5, 8, 14])
def test_levels_are_the_published_thresholds(cells, largest):
    random = np.random.default_rng(cells)
    raw = cv2.resize(random.random((cells, cells)), (80, 60), interpolation=cv2.INTER_CUBIC)
    values = (255 * ((raw - raw.min()) / (raw.max() - raw.min()))).astype(np.uint8)
    truth = np.array([[10, 5, 50, 40], [3, 30, 70, 59]])
    expected = slowly(values, truth, largest)
    found, _ = iou_by_level(values, truth, largest)
    steps = [int(step / 1000 * 255) for step in range(1000)]
    np.testing.assert_allclose(found[:, steps], expected, atol=1e-12)


def test_rough_maps_are_measured_by_components():
    values = np.random.default_rng(0).integers(0, 256, (30, 40)).astype(np.uint8)
    values[0, 0], values[1, 1] = 0, 255
    truth = np.array([[5, 5, 30, 20]])
    expected, (found, _) = slowly(values, truth, "contour"), iou_by_level(values, truth, "contour")
    steps = [int(step / 1000 * 255) for step in range(1000)]
    np.testing.assert_allclose(found[1, steps], expected[1], atol=1e-12)
    # Of components that enclose as much, any may be the largest: a few pixels each, when they are all that is left.
    differing = np.abs(found[0, steps] - expected[0]) > 1e-12
    assert expected[0][differing].max(initial=0) < 0.1


def test_intersection_over_union():
    assert iou_of(np.array([[0, 0, 9, 9]]), np.array([[0, 0, 9, 9], [5, 0, 14, 9], [20, 20, 30, 30]])).tolist() == [
        [1, 1 / 3, 0]
    ]


def test_scores_of_means_are_means_of_images():
    result = xkd_eval.evaluate("embedded/kd", tests="localisation", limit=30).results[0]
    found = result.summary
    assert found["max_box_acc"]["value"] == hits(result.columns, "largest", 0.5).mean(0).max()
    points = [point["value"] for point in found["box_acc_curve"]]
    assert len(points) == len(CURVE)
    assert max(points) <= found["max_box_acc"]["value"]
    assert points[10] == found["fixed"]["gt_known"]["value"]
    assert any("suits these images best" in note and "fixed 0.2" in note for note in result.test.notes(found))
    assert result.rows["target"].to_pylist() == result.rows["label"].to_pylist()
