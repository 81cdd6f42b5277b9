"""A CIFAR-10 archive that a small network learns in a few steps, recipes on it, and a teacher."""

from __future__ import annotations

import pickle
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from distill.cli import main
from distill.recipe.parse import parse_recipe
from distill.recipe.schema import Recipe
from distill.training.train import train
from tests.distill.processes import inherited
from xkd_eval.classifiers.checkpoint import read_checkpoint

CLASSES = 10
TRAIN_IMAGES, FEW_IMAGES, TEST_IMAGES = 350, 100, 100
FEWEST = {"images": 40}
"""What recipes in bfloat16 add to `data`: it takes ten times as long where the processor does not multiply it."""


def images_of(labels: np.ndarray, seed: int) -> np.ndarray:
    """(N, 32, 32, 3) uint8: noise, and a bright square whose place is the class."""
    images = np.random.default_rng(seed).integers(0, 128, (len(labels), 32, 32, 3), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        top, left = 16 * (label // 5), 6 * (label % 5)
        image[top : top + 8, left : left + 6] = 255
    return images


def write_cifar10(folder: Path, train_images: int = TRAIN_IMAGES, classes: int = CLASSES) -> Path:
    """The published layout; each class has as many images."""
    folder = folder / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"class {index}" for index in range(10)]}))
    names = {f"data_batch_{number}": train_images // 5 for number in range(1, 6)} | {"test_batch": TEST_IMAGES}
    for seed, (name, count) in enumerate(names.items()):
        labels = np.arange(count) % classes
        planar = images_of(labels, seed).transpose(0, 3, 1, 2).reshape(count, -1)
        (folder / name).write_bytes(pickle.dumps({"data": planar, "labels": labels.tolist()}))
    return folder


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    # The parent is the user's own folder of pytest, which outlives the session.
    given, removed = inherited(tmp_path_factory.getbasetemp().parent / "bytecode")
    for name, value in given.items():
        patch.setenv(name, value)
    for name in removed:
        patch.delenv(name, raising=False)
    yield
    patch.undo()


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Of this process and of those that it starts: faster for networks as small as these, and the same bits for all.

    For the whole session, as trainings that tests share are compared with their own.
    """
    patch = pytest.MonkeyPatch()
    patch.setenv("OMP_NUM_THREADS", "1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    patch.undo()


@pytest.fixture(scope="session")
def many_images(tmp_path_factory) -> Path:
    """As many as a network needs to learn."""
    return write_cifar10(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def few_images(tmp_path_factory) -> Path:
    """For tests in which nothing has to be learned."""
    return write_cifar10(tmp_path_factory.mktemp("few"), train_images=FEW_IMAGES)


@pytest.fixture(scope="session")
def cifar10(many_images) -> Path:
    """What recipes train on: a file whose tests need no network that has learned takes `few_images` in its place."""
    return many_images


def values_of(cifar10: Path, **changes) -> dict:
    """A small recipe as plain values."""
    return {
        "data": {"loader": "device", "path": str(cifar10), "padding": 1, "flip": False},
        "student": {
            "architecture": "resnet8",
            "arguments": {"widths": [8, 8, 16, 16]},
            "preprocess": {"size": [32, 32]},
        },
        "losses": [{"method": "ce"}],
        "epochs": 2,
        "batch_size": 32,
        "optimiser": {"name": "sgd", "learning_rate": 0.3},
        "schedule": {"name": "cosine"},
    } | changes


@pytest.fixture
def recipe_of(cifar10):
    """Keyword arguments that differ from the small recipe -> Recipe."""
    return lambda **changes: parse_recipe(values_of(cifar10, **changes))


@pytest.fixture
def recipe_file(cifar10, tmp_path):
    """The same as a file."""

    def write(**changes) -> Path:
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump({"recipe": values_of(cifar10, **changes)}))
        return path

    return write


@pytest.fixture(scope="session")
def teacher(many_images, tmp_path_factory) -> Path:
    """A student.pt of twice the width, with an input convention of its own."""
    directory = tmp_path_factory.mktemp("teacher")
    student = {
        "architecture": "resnet8",
        "arguments": {"widths": [16, 16, 32, 32]},
        "preprocess": {"size": [32, 32], "mean": [0.4, 0.3, 0.2], "std": [0.3, 0.2, 0.1], "channel_order": "BGR"},
    }
    recipe: Recipe = parse_recipe(values_of(many_images, student=student, epochs=6))
    train(recipe, directory, device="cpu")
    return directory / "student.pt"


@pytest.fixture
def xkd_distill(tmp_path, monkeypatch):
    """Run a command in an empty folder: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["xkd-distill", *map(str, arguments)])
        out, err = StringIO(), StringIO()
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main()
            raise SystemExit(0)
        return ended.value.code or 0, out.getvalue(), err.getvalue()

    return run


def weights_of(directory: Path) -> dict[str, torch.Tensor]:
    """The student's, of a finished training."""
    return read_checkpoint(directory / "student.pt").state_dict


def assert_same_bits(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    """Equal names and values."""
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name


KD = [{"method": "ce"}, {"method": "kd"}]
EXP_KD = [{"method": "ce"}, {"method": "exp_kd", "weight": 1000}]
