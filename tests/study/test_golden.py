"""What the published code printed for a real ImageNet classifier on real photographs, reproduced by the whole tool."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from xkd_eval import load_classifier, perturbation_test, segmentation_test
from xkd_eval.datasets import open_dataset
from xkd_eval.datasets.base import Subset
from xkd_eval.explainers.stored import save_maps


def _overrides(mean_std: list[float]) -> dict[str, tuple[float, ...]]:
    mean, std = mean_std
    return {"mean": (mean,) * 3, "std": (std,) * 3}


@pytest.mark.parametrize(("variant", "from_maps"), [("model", False), ("half", True)])
def test_perturbation_hits_and_areas(lite0, golden_perturbation, shared, tmp_path, variant, from_maps):
    golden = {**golden_perturbation, **golden_perturbation["variants"][variant]}
    tree = open_dataset(str(shared / "data" / "imagenet_like" / "val"))
    images = Subset(tree, [tree.ids.index(name) for name in golden["images"]])
    if from_maps:
        save_maps(tmp_path, golden["images"], torch.tensor(golden["cam_7x7"]))
    result = perturbation_test(
        load_classifier(lite0),
        images,
        protocol="exp-kd",
        **_overrides(golden["mean_std"]),
        maps=tmp_path if from_maps else None,
    )
    assert result.summary["protocol"]["name"] == ("exp-kd+mean,std" if variant == "model" else "exp-kd")
    assert result.rows["label"].to_pylist() == golden["labels"]
    assert result.rows["predicted"].to_pylist() == golden["predicted"]
    for direction in ("positive", "negative"):
        hits = np.stack(result.rows[f"{direction}_hit"].to_numpy())
        differing = (hits != np.array(golden[direction]["hits"], dtype=bool)).mean()
        assert differing <= 0.005
        assert result.summary[direction]["auc"]["value"] == pytest.approx(golden[direction]["auc"], abs=0.003)
    assert result.summary["clean_accuracy"]["value"] == pytest.approx(golden["clean_accuracy"])


@pytest.mark.parametrize("from_maps", [False, True])
def test_segmentation_scores(lite0, golden_segmentation, shared, tmp_path, from_maps):
    frames = open_dataset(str(shared / "data" / "imagenet_segmentation" / "gtsegs_format.mat"))
    if from_maps:
        save_maps(tmp_path, frames.ids, torch.tensor(golden_segmentation["cam_7x7"]))
    result = segmentation_test(
        load_classifier(lite0),
        frames,
        protocol="exp-kd",
        **_overrides([127 / 255, 128 / 255]),
        maps=tmp_path if from_maps else None,
    )
    assert result.rows["predicted"].to_pylist() == golden_segmentation["predicted"]
    for ours, theirs in {"pixel_accuracy": "pixacc", "miou": "miou", "map": "map", "f1_rows": "f1"}.items():
        assert result.summary[ours]["value"] == pytest.approx(golden_segmentation[theirs], abs=1e-4)
