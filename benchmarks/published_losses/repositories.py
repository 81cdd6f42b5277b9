"""Checkouts of the published repositories, and single files of them as modules."""

from __future__ import annotations

import importlib.util
import itertools
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock, patch

import torch

_numbers = itertools.count()


@dataclass(frozen=True)
class Repository:
    """Where it is published.

    Attributes:
        owner: on GitHub.
        commit: that was compared.
    """

    owner: str
    commit: str


REPOSITORIES = {
    "mdistiller": Repository("megvii-research", "a08d46f10d6102bd6e3f258ca5ac880b020ea259"),
    "RepDistiller": Repository("HobbitLong", "b84f547c5db6a35318d4671d7d5c4de74c822403"),
    "logit-standardization-KD": Repository("sunshangquan", "f6e5aa5172bad618e801163c3385322eea673754"),
    "DIST_KD": Repository("hunto", "2418f18b1fedd7c2646a7b1b9a27d5c674c2170b"),
    "image_classification_sota": Repository("hunto", "6f7a70a1dd57fd88413d83909d3d53243068f701"),
    "Teacher-free-Knowledge-Distillation": Repository("yuanli2333", "d000ab378a409535a5f5f645b473e05e27529a02"),
    "SDD-CVPR2024": Repository("shicaiwei123", "e412036c6b7b67d8ed25418d2dedad223ab49a71"),
    "CAT-KD": Repository("GzyAftermath", "4467073ca31b9929e7c45f5a6761e5e1b7c9442f"),
    "Exp-KD": Repository("Blenderama", "40270967beb7270edc68fadd835c15f0a92dcde1"),
    "GoodTeachersExplain": Repository("m-parchami", "a1b7bb532bff395988e6695d65a49461bfedb099"),
    "ReviewKD": Repository("dvlab-research", "cede6ea6387ae9b6127de0e561507177bf19c11e"),
    "overhaul-distillation": Repository("clovaai", "76344a84a7ce23c894f41a2e05b866c9b73fd85a"),
    "TTM": Repository("zkxufo", "fe457b33a71ba27536ec04fe3d32c5b04963522f"),
    "Multi-Level-Logit-Distillation": Repository("Jin-Ying", "5ee473fcf193dfb00a0598b64d0acfe6ad58a482"),
    "Simple-Recipe-Distillation": Repository("roymiles", "31e8477cfdd6bb6ec7cdc332915fd4496b6de7b6"),
    "SimKD": Repository("DefangChen", "2b389c31ed7779aea31e7aaf0bb0f2d8b6ac2f01"),
    "L2D": Repository("penghui-yang", "ea7fa5581de3cd0dba2f4d5ba3e3aaed78837a58"),
    "deit": Repository("facebookresearch", "7e160fe43f0252d17191b71cbb5826254114ea5b"),
    "NORM": Repository("OSVAI", "c6dfc39eaf2fdaccf99ed07810da7a00b71b9144"),
    "cls_KD": Repository("yzd-v", "1e5d48f36957ee460d39d7ebc592c6cc7f8f3d66"),
}
"""By the name of the folder that holds a checkout of each."""


def commit_of(folder: Path) -> str:
    """The commit that is checked out there; "" where git knows of none."""
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() if found.returncode == 0 else ""


def published(file: Path, absent: Sequence[str] = ()) -> ModuleType:
    """A file as a module; files beside it and in folders beside its own are found by its relative imports.

    Args:
        file: of a checkout.
        absent: modules that it imports and does not need for what is called here; they are made up.
    """
    spec = importlib.util.spec_from_file_location(f"{_package(file.parent)}.{file.stem}", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    made_up = {name: _MadeUp() for name in absent if name not in sys.modules}
    sys.modules.update(made_up)
    try:
        spec.loader.exec_module(module)
    finally:
        for name in made_up:
            del sys.modules[name]
    return module


def _package(folder: Path) -> str:
    """The name of a package around a folder, within one around the folder above it."""
    outer = f"published_{next(_numbers)}"
    inner = f"{outer}.within"
    for name, path in ((outer, folder.parent), (inner, folder)):
        package = ModuleType(name)
        package.__path__ = [str(path)]
        sys.modules[name] = package
    return inner


class _MadeUp(MagicMock):
    """Has whatever is asked for; as a decorator it leaves a class as it is."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        is_decorating = len(arguments) == 1 and isinstance(arguments[0], type)
        return arguments[0] if is_decorating else super().__call__(*arguments, **options)


@contextmanager
def on_this_device() -> Iterator[None]:
    """Within it `.cuda()` returns a tensor as it is, torch has a name that it had, and nobody prints or warns."""
    stays = patch.object(torch.Tensor, "cuda", lambda tensor, *arguments, **options: tensor)
    former = patch.object(sys.modules["torch.optim.optimizer"], "required", object(), create=True)
    with stays, former, warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        yield
