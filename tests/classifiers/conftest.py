"""Networks are built with random weights by the dozen; none of these tests asks how the weights are spread."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.quick_weights import quick_weights
from xkd_eval.classifiers import Preprocess
from xkd_eval.classifiers.architectures import build
from xkd_eval.classifiers.checkpoint import Checkpoint, save_checkpoint


@pytest.fixture(scope="package", autouse=True)
def _quick_weights() -> Iterator[None]:
    with quick_weights():
        yield


@pytest.fixture
def student(tmp_path: Path) -> Path:
    """A checkpoint of three classes."""
    model = build("resnet8", num_classes=3)
    save_checkpoint(
        Checkpoint(
            architecture="resnet8",
            arguments={"num_classes": 3},
            state_dict=model.state_dict(),
            preprocess=Preprocess(size=(64, 64), mean=(0.5, 0.5, 0.5)),
            class_names=("a", "b", "c"),
        ),
        tmp_path / "student.pt",
    )
    return tmp_path / "student.pt"
