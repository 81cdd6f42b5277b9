"""The smallest networks of all families, teachers of them, and images, for recipes of every loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from distill.methods import METHODS
from xkd_eval import Preprocess
from xkd_eval.classifiers.checkpoint import Checkpoint, save_checkpoint
from xkd_eval.classifiers.sources import build_architecture

CLASSES, BATCH, TRAIN, TEST = 3, 8, 24, 7  # that two processes do not share out evenly


class Plain(nn.Sequential):
    """A CNN as people write one, without batch norm."""

    def __init__(self, num_classes: int = CLASSES) -> None:
        layers: list[nn.Module] = []
        for inputs, outputs in ((3, 4), (4, 6), (6, 8)):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes))


RESNET = ("resnet8", {"widths": [2, 2, 4, 4]}, 16)
CONVNEXT = ("timm/convnext_atto", {"depths": [1, 1, 1, 1], "dims": [4, 4, 8, 8], "output_stride": 16}, 32)
VIT = ("timm/vit_tiny_patch16_224", {"img_size": 32, "patch_size": 8, "depth": 4, "embed_dim": 12, "num_heads": 2}, 32)
STUDENTS: dict[str, tuple[str, dict[str, Any], int]] = {
    "resnet": RESNET,
    "plain": (f"py:{__name__}:Plain", {}, 20),
    "convnext": CONVNEXT,
    "vit": VIT,
}
# Of other sizes than all students, and one smaller, one larger than the most of them.
TEACHERS: dict[str, tuple[str, dict[str, Any], int]] = {
    "resnet": ("resnet8", {"widths": [4, 4, 6, 6]}, 24),
    "vit": ("timm/vit_tiny_patch16_224", {**VIT[1], "img_size": 40, "embed_dim": 16}, 40),
}
LOSSES = METHODS.names()
"""All that are registered: a new one is in the matrix by itself."""

# crd's own 16,384 negatives are 7 s of gathering.
_OPTIONS: dict[str, dict[str, Any]] = {"crd": {"negatives": 8}}


def write_images(folder: Path) -> Path:
    """Few images in folders train/ and test/: noise, and a bright bar whose place is the class."""
    generator = np.random.default_rng(0)
    for split, count in (("train", TRAIN), ("test", TEST)):
        for number in range(count):
            pixels = generator.integers(0, 128, (32, 32, 3), dtype=np.uint8)
            label = number % CLASSES
            pixels[10 * label : 10 * label + 8] = 250
            file = folder / split / f"class{label}" / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(file)
    return folder


def write_teachers(folder: Path) -> dict[str, Path]:
    """TEACHERS with random weights, by name."""
    files = {}
    for name, (architecture, arguments, size) in TEACHERS.items():
        arguments = {"num_classes": CLASSES, **arguments}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = build_architecture(architecture, arguments, "teacher")
        names = tuple(f"class{label}" for label in range(CLASSES))
        preprocess = Preprocess(size=(size, size))
        files[name] = folder / f"{name}.pt"
        save_checkpoint(Checkpoint(architecture, arguments, network.state_dict(), preprocess, names), files[name])
    return files


def loss_of(method: str, **keys: Any) -> dict[str, Any]:
    """An entry of `losses`."""
    return {"method": method, **_OPTIONS.get(method, {}), **keys}


def values_for(student: str, losses: list[dict[str, Any]], images: Path, teacher: Path, **changes: Any) -> dict:
    """A recipe of two steps as plain values; without the teacher where no loss distils."""
    architecture, arguments, size = STUDENTS[student]
    distils = any(METHODS[loss["method"]].requires for loss in losses)
    return {
        "data": {"loader": "device", "path": str(images), "val_split": 0.25, "padding": 2, "flip": True},
        "student": {"architecture": architecture, "arguments": arguments, "preprocess": {"size": [size, size]}},
        **({"teacher": {"model": str(teacher)}} if distils else {}),
        "losses": losses,
        "epochs": 1,
        "batch_size": BATCH,
        "optimiser": {"name": "sgd", "learning_rate": 0.01},
        "schedule": {"name": "constant"},
    } | changes
