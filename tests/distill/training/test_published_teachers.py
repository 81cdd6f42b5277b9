"""Teachers as they are published, `{"model": ...}` by the names of RepDistiller and mdistiller, through `train`."""

from __future__ import annotations

import io
import math
import pickle
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from distill.recipe.files import load_recipe
from distill.training.train import train
from tests.classifiers.published import NETWORKS, Drawn
from tests.conftest import SHARED
from tests.distill.conftest import values_of
from tests.distill.recipe.test_published import folders

FAMILIES = (
    *("resnet20", "resnet56", "resnet110", "resnet8x4", "resnet32x4", "resnet50"),
    *("wrn_16_2", "wrn_40_2", "vgg8", "vgg13", "mobilenetv2", "shufflenetv1", "shufflenetv2"),
)
MEAN, STD = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)
TRAINED_ON, TESTED_ON = 16, 12


class Given(NamedTuple):
    """CIFAR-100's archive of a few images, and what it is tested on."""

    folder: Path
    pixels: Tensor
    labels: Tensor


def real_images(split: str, count: int) -> tuple[np.ndarray, list[int]] | None:
    """The first of CIFAR-100, (N, 32, 32, 3), where it is."""
    files = sorted((SHARED / "data" / "cifar100").glob(f"{split}-*.parquet"))
    if not files:
        return None
    rows = next(pyarrow.parquet.ParquetFile(files[0]).iter_batches(count)).to_pylist()
    images = [np.asarray(Image.open(io.BytesIO(row["img"]["bytes"])).convert("RGB")) for row in rows]
    return np.stack(images), [row["fine_label"] for row in rows]


def drawn_images(split: str, count: int) -> tuple[np.ndarray, list[int]]:
    """Noise, where CIFAR-100 is not."""
    draws = np.random.default_rng(len(split))
    return draws.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8), list(range(count))


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> Given:
    folder = tmp_path_factory.mktemp("data") / "cifar-100-python"
    folder.mkdir()
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": [f"class {place}" for place in range(100)]}))
    for split, count in (("train", TRAINED_ON), ("test", TESTED_ON)):
        images, labels = real_images(split, count) or drawn_images(split, count)
        planar = images.transpose(0, 3, 1, 2).reshape(count, -1)
        (folder / split).write_bytes(pickle.dumps({"data": planar, "fine_labels": labels}))
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    pixels = (torch.from_numpy(images.transpose(0, 3, 1, 2) / 255).float() - mean) / std
    return Given(folder, pixels, torch.tensor(labels))


def publish(name: str, pixels: Tensor, folder: Path) -> tuple[str, Tensor]:
    """What a recipe calls a teacher of random weights in a file of its authors' form, and its answers (N, 100)."""
    drawn, file = Drawn(seed=2), folder / "ckpt_epoch_240.pth"
    with torch.no_grad():
        logits = NETWORKS[name](drawn, pixels, 100)
    torch.save({"epoch": 240, "accuracy": 72.1, "model": drawn.tensors}, file)
    return f"xkd/{name},weights={file}", logits


@pytest.mark.parametrize("name", FAMILIES)
def test_it_teaches_by_the_answers_that_its_authors_network_gives(given, tmp_path, name):
    model, logits = publish(name, given.pixels, tmp_path)
    values = values_of(given.folder, epochs=1, batch_size=8, optimiser={"name": "sgd", "learning_rate": 1e-3})
    values["teacher"] = {"model": model}
    values["losses"] = [{"method": method, "weight": 1e-3} for method in ("ce", "kd", "exp_kd")]
    result = train(values, tmp_path / "run", device="cpu", force=True).result
    taught = result["teachers"]["teacher"]
    assert taught["test_loss"] == pytest.approx(float(F.cross_entropy(logits, given.labels)), rel=1e-4)
    assert taught["test_top1"] == pytest.approx(float((logits.argmax(1) == given.labels).float().mean()))
    assert all(math.isfinite(result["last"][loss]) and result["last"][loss] > 0 for loss in ("kd", "exp_kd"))


@pytest.fixture(scope="module")
def vgg13(given, tmp_path_factory) -> str:
    model, _ = publish("vgg13", given.pixels, tmp_path_factory.mktemp("teacher"))
    return model


# norm's authors print no such pair.
METHODS = [folder for folder in folders("cifar100") if folder != "norm"]
OFTEN = ("kd", "dkd", "crd", "reviewkd", "cat-kd", "exp-kd", "exp-kd-authors", "dot")


@pytest.mark.parametrize(
    "folder", [pytest.param(name, marks=[] if name in OFTEN else pytest.mark.long) for name in METHODS]
)
def test_the_recipe_of_each_method_takes_a_step(given, vgg13, tmp_path, folder):
    """On eight images, by a teacher that is not the published one, which is said."""
    changes = [f"data.path={given.folder}", "data.images=8", "batch_size=8", "epochs=1", f"teacher.model={vgg13}"]
    recipe = load_recipe(f"{folder}/cifar100/vgg13-vgg8", [*changes, "optimiser.learning_rate=1e-5"])
    notes: list[str] = []
    result = train(recipe, tmp_path, device="cpu", force=True, progress=lambda point: notes.extend(point.notes)).result
    assert result["train_images"] == 8 and result["last"]["epoch"] == 1
    assert math.isfinite(result["last"]["total"]) and result["last"]["total"] > 0
    expected = " test images, where the recipe expects 74.6 %: published figures are of such a teacher"
    assert [note.endswith(expected) for note in notes if "right on" in note] == [True]
