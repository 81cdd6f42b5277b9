"""Segmentation test: answers by hand, scikit-learn's and torchmetrics' figures, the published ones."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score
from torchmetrics.functional.classification import binary_jaccard_index

from tests.evaluations.conftest import batch_of
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.datasets import open_dataset
from xkd_eval.datasets.loader import stream
from xkd_eval.evaluations.segmentation.curve import precision_recall
from xkd_eval.evaluations.segmentation.one_image import average_precision, score_image
from xkd_eval.evaluations.segmentation.protocol import SegmentationProtocol
from xkd_eval.evaluations.segmentation.test import SegmentationTest


def seen(maps: torch.Tensor, masks: torch.Tensor):
    pixels = torch.zeros(len(maps), 3, 1, 1)
    return batch_of(pixels, maps, lambda images: images[:, :, 0, 0], [0] * len(maps), Preprocess(), masks=masks)


def summary_of(maps: torch.Tensor, masks: torch.Tensor) -> dict:
    test = SegmentationTest(SegmentationProtocol())
    return test.summarise(test.rows(seen(maps, masks)))


def test_a_perfect_map_of_a_100_pixel_square():
    masks = torch.zeros(1, 224, 224, dtype=torch.int8)
    masks[0, 20:120, 30:130] = 1
    scores = summary_of(masks.float(), masks)
    for name in ("pixel_accuracy", "miou", "map", "foreground_ap", "f1", "pointing_game", "energy_pointing_game"):
        assert scores[name]["value"] == pytest.approx(1.0)
    assert scores["f1_rows"]["value"] == pytest.approx(100 / 224)  # the published helper's 0.446


def test_half_of_the_object_found():
    masks = torch.zeros(1, 224, 224, dtype=torch.int8)
    masks[0, :112] = 1
    maps = torch.zeros(1, 224, 224)
    maps[0, :56] = 1
    scores = summary_of(maps, masks)
    assert scores["pixel_accuracy"]["value"] == pytest.approx(0.75)
    assert scores["iou_object"]["value"] == pytest.approx(0.5)
    assert scores["iou_background"]["value"] == pytest.approx(112 / 168)
    assert scores["f1"]["value"] == pytest.approx(2 / 3)


def test_figures_of_one_image_agree_with_scikit_learn_and_torchmetrics():
    generator = np.random.default_rng(5)
    mask = (generator.random((40, 50)) < 0.3).astype(np.int8)
    relevance = generator.integers(0, 30, (40, 50)).astype(np.float32) / 29  # many ties
    scores = score_image(relevance, mask)
    assert scores["foreground_ap"] == pytest.approx(average_precision_score(mask.ravel(), relevance.ravel()))
    both = np.concatenate([1 - relevance.ravel(), relevance.ravel()])
    one_hot = np.concatenate([1 - mask.ravel(), mask.ravel()])
    assert scores["ap"] == pytest.approx(average_precision_score(one_hot, both))
    predicted = relevance > relevance.mean()
    rows = [f1_score(mask[row], predicted[row], zero_division=0) for row in range(40)]
    assert scores["f1_rows"] == pytest.approx(np.mean(rows))
    union = scores["true_positive"] + scores["false_positive"] + scores["false_negative"]
    jaccard = binary_jaccard_index(torch.from_numpy(predicted), torch.from_numpy(mask))
    assert scores["true_positive"] / union == pytest.approx(float(jaccard))


def test_ignored_pixels_count_nowhere():
    relevance = np.array([[0.9, 0.8, 0.1, 0.0]], dtype=np.float32)
    scores = score_image(relevance, np.array([[1, -1, 0, -1]], dtype=np.int8))
    assert (scores["object_pixels"], scores["background_pixels"]) == (1, 1)
    assert (scores["true_positive"], scores["true_negative"], scores["false_positive"]) == (1, 1, 0)
    assert scores["foreground_ap"] == 1.0


def test_average_precision_by_hand():
    # Ranked: hit, miss, hit -> 1/2 * 1 + 1/2 * 2/3.
    assert average_precision(np.array([0.9, 0.5, 0.4]), np.array([True, False, True])) == pytest.approx(5 / 6)
    assert np.isnan(average_precision(np.array([0.5]), np.array([False])))


def test_a_symmetric_random_map_scores_a_published_map_of_one_half():
    maps = torch.rand(2, 224, 224)
    masks = torch.zeros(2, 224, 224, dtype=torch.int8)
    masks[:, :100, :100] = 1
    assert summary_of(maps, masks)["map"]["value"] == pytest.approx(0.5, abs=0.01)


def test_degenerate_maps_and_empty_or_full_masks_are_counted_never_scored_as_background():
    masks = torch.zeros(3, 224, 224, dtype=torch.int8)
    masks[0, :112] = 1
    masks[2] = 1
    maps = torch.stack([torch.ones(7, 7), torch.randn(7, 7), torch.full((7, 7), torch.nan)])
    test = SegmentationTest(SegmentationProtocol())
    rows = test.rows(seen(maps, masks))
    assert rows["degenerate"].tolist() == [True, False, True]
    # A map that orders nothing is scored as a random one: half of the object and half of the background are claimed.
    assert rows["true_positive"][0] == pytest.approx(112 * 224 / 2, rel=0.02)
    summary = test.summarise(rows)
    assert (summary["empty_masks"], summary["full_masks"]) == (1, 1)
    assert np.isnan(rows["foreground_ap"][1])
    assert summary["foreground_ap"]["value"] is not None


def test_histogram_curve_approaches_the_exact_one():
    generator = np.random.default_rng(2)
    mask = (generator.random((64, 64)) < 0.25).astype(np.int8)
    relevance = np.clip(0.3 * mask + 0.7 * generator.random((64, 64)), 0, 1).astype(np.float32)
    scores = score_image(relevance, mask)
    precision, recall, iou = precision_recall(scores["histogram_object"], scores["histogram_background"])
    area = float(np.sum(-np.diff(np.append(recall, 0.0)) * precision))
    assert area == pytest.approx(scores["foreground_ap"], abs=0.01)
    thresholds = np.arange(256) / 256
    slow = [(mask * (relevance >= t)).sum() / np.maximum(mask, relevance >= t).sum() for t in thresholds]
    np.testing.assert_allclose(iou, slow)


def test_published_scores_from_the_published_maps(shared, golden_segmentation):
    dataset = open_dataset(str(shared / "data" / "imagenet_segmentation" / "gtsegs_format.mat"))
    items = list(stream(dataset, range(len(dataset)), Preprocess(), mask_size=(224, 224)))
    maps = torch.tensor(golden_segmentation["cam_7x7"])
    scores = summary_of(maps, torch.stack([item.mask for item in items]))
    for ours, theirs in {"pixel_accuracy": "pixacc", "miou": "miou", "map": "map", "f1_rows": "f1"}.items():
        assert scores[ours]["value"] == pytest.approx(golden_segmentation[theirs], abs=1e-4)
    assert scores["foreground_ap"]["value"] == pytest.approx(golden_segmentation["foreground_ap"], abs=1e-4)


@pytest.mark.parametrize("share", [1, 3, 7, 10, 33])
def test_energy_on_the_object_is_a_share_of_whole_numbers(share):
    """To all of float64's digits, as two models' shares are compared for ties."""
    relevance, mask = np.zeros((10, 7), np.float32), np.zeros((10, 7), np.int8)
    relevance.ravel()[:55] = 1
    mask.ravel()[:share] = 1
    assert score_image(relevance, mask)["energy_pointing_game"] == share / 55
