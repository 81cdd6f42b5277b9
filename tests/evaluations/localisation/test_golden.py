"""What wsolevaluation, torchray, Quantus and Score-CAM printed, through the public API."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from xkd_eval import evaluate, open_dataset
from xkd_eval.evaluations.forms import in_form
from xkd_eval.evaluations.localisation.found_boxes import iou_by_level
from xkd_eval.evaluations.localisation.one_image import on_the_map
from xkd_eval.evaluations.localisation.protocol import level_of
from xkd_eval.explainers.stored import save_maps

STEPS = np.arange(0.05, 0.951, 0.05)


@pytest.fixture(scope="module")
def photographs(shared, golden_metrics, golden_classifier, tmp_path_factory):
    """The test on the 11 ILSVRC images by preset, with the labels' maps of the file."""
    entry = golden_metrics["metrics"]["max_box_acc/wsolevaluation/ilsvrc"]
    root = shared / "data" / "imagenet_val"
    images = open_dataset(root / "val")
    assert (images.ids, images.labels) == (entry["images"], entry["labels"])
    folder = tmp_path_factory.mktemp("maps")
    save_maps(folder, images.ids, torch.tensor(entry["cam_7x7_of_the_label"]))
    presets = ("choe2020", "zhou2016", "score-cam")
    study = evaluate(
        {"lite0": golden_classifier},
        images,
        tests=[f"localisation:preset={preset}" for preset in presets],
        maps=folder,
        boxes=root / "localization.txt.gz",
    )
    return dict(zip(presets, study.results, strict=True))


@pytest.fixture(scope="module")
def frames(shared, golden_classifier, golden_segmentation, tmp_path_factory):
    """The test on the 88 masked frames by its spelling, with their maps."""
    images = open_dataset(shared / "data" / "imagenet_segmentation" / "gtsegs_format.mat")
    folder = tmp_path_factory.mktemp("maps")
    save_maps(folder, images.ids, torch.tensor(golden_segmentation["cam_7x7"]))
    spelt = ("choe2020", "ebp", "ebp,tolerance=1", "quantus")
    study = evaluate(
        {"lite0": golden_classifier},
        images,
        tests=[f"localisation:regions=masks,preset={preset}" for preset in spelt],
        maps=folder,
    )
    return dict(zip(spelt, study.results, strict=True))


def _check_accuracy(result, metrics, data):
    for found, metric in (("largest", "max_box_acc"), ("all", "max_box_acc_v2")):
        entry = metrics[f"{metric}/wsolevaluation/{data}"]
        best = result.columns["best_iou" if found == "largest" else "best_iou_of_all"]
        np.testing.assert_allclose(best, entry["per_image"], atol=1e-6)
        shares = [result.summary["box_acc"][f"{found}_{iou}"]["value"] for iou in (30, 50, 70)]
        np.testing.assert_allclose(
            [100 * share for share in shares], list(entry["accuracy_percent"].values()), atol=1e-4
        )
        for iou in (30, 50, 70):
            assert result.summary["best_threshold"][f"{found}_{iou}"] == entry["best_threshold"][str(iou)]
    largest, every = (metrics[f"{metric}/wsolevaluation/{data}"] for metric in ("max_box_acc", "max_box_acc_v2"))
    assert 100 * result.summary["max_box_acc"]["value"] == pytest.approx(largest["accuracy_percent"]["50"], abs=1e-4)
    assert 100 * result.summary["max_box_acc_v2"]["value"] == pytest.approx(every["mean_percent"], abs=1e-4)
    assert result.columns["box"].tolist() == largest["box_at_0.2"]


def test_boxes_of_photographs(photographs, golden_metrics):
    result = photographs["choe2020"]
    assert result.summary["n_images"] == 11
    _check_accuracy(result, golden_metrics["metrics"], "ilsvrc")
    # 9 of 11 are predicted right, at the threshold that suits GT-known localisation best.
    entry = golden_metrics["metrics"]["max_box_acc/wsolevaluation/ilsvrc"]
    right = np.array(entry["labels"]) == entry["predicted"]
    assert result.columns["top1"].tolist() == right.tolist()
    assert result.summary["top1_localisation"]["value"] <= right.mean()


def test_boxes_of_frames(frames, golden_metrics):
    _check_accuracy(frames["choe2020"], golden_metrics["metrics"], "frames")


def test_overlap_at_each_threshold(golden_metrics, shared):
    images = open_dataset(shared / "data" / "imagenet_val" / "val")
    for metric, row in (("max_box_acc", 0), ("max_box_acc_v2", 1)):
        entry = golden_metrics["metrics"][f"{metric}/wsolevaluation/ilsvrc"]
        source = golden_metrics["metrics"]["max_box_acc/wsolevaluation/ilsvrc"]
        maps, _ = in_form(torch.tensor(source["cam_7x7_of_the_label"]), "cubic", (224, 224))
        boxes = open_boxes(images, shared)
        for position, expected in enumerate(entry["iou_at_thresholds_0_05_to_0_95"]):
            sample = boxes.load(position)
            truth = on_the_map(sample.boxes, sample.image.size[::-1], (224, 224))
            iou, _ = iou_by_level((255 * maps[position].numpy()).astype(np.uint8), truth, "contour")
            np.testing.assert_allclose(iou[row, [level_of(step) for step in STEPS]], expected, atol=1e-6)


def open_boxes(images, shared):
    from xkd_eval.datasets.boxes import with_boxes

    return with_boxes(images, shared / "data" / "imagenet_val" / "localization.txt.gz")


def test_energy_within_the_first_box(photographs, golden_metrics):
    entry = golden_metrics["metrics"]["energy_pointing_game/scorecam/ilsvrc"]
    result = photographs["score-cam"]
    np.testing.assert_allclose(result.columns["energy_pointing_game"], entry["per_image"], atol=1e-5)
    assert result.summary["energy_pointing_game"]["value"] == pytest.approx(entry["aggregate"], abs=1e-5)


@pytest.mark.parametrize(("preset", "tolerance"), [("ebp", 15), ("ebp,tolerance=1", 1)])
def test_pointing_of_torchray(frames, golden_metrics, preset, tolerance):
    entry = golden_metrics["metrics"][f"pointing_game/torchray/tolerance{tolerance}"]
    assert frames[preset].columns["pointing_game"].tolist() == entry["per_image"]
    assert frames[preset].summary["pointing_game"]["value"] == pytest.approx(entry["aggregate"], abs=1e-6)


@pytest.mark.parametrize(
    ("peers", "ours"),
    [
        ("pointing_game", "pointing_game"),
        ("relevance_mass_accuracy", "energy_pointing_game"),
        ("attribution_localisation", "energy_pointing_game"),  # the same of maps that are nowhere negative
        ("relevance_rank_accuracy", "relevance_rank_accuracy"),
        ("top_k_intersection", "top_k_intersection"),
        ("localisation_auc", "localisation_auc"),
    ],
)
def test_localisation_of_quantus(frames, golden_metrics, peers, ours):
    entry = golden_metrics["metrics"][f"{peers}/quantus/frames"]
    found = frames["quantus"].columns[ours][entry["arguments"]["frames"]]
    np.testing.assert_allclose(found, entry["per_image"], atol=1e-4)
