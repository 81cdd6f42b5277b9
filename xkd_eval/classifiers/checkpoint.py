"""student.pt: a trained classifier as tensors and plain values, written atomically and read without running code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.classifiers.weight_files import read_weight_file
from xkd_eval.errors import XkdError
from xkd_eval.files import replacing

FORMAT = "xkd-checkpoint"
VERSION = 1

_PLAIN = (str, int, float, bool, type(None))


@dataclass(frozen=True)
class Checkpoint:
    """A trained classifier and how it came about.

    Attributes:
        architecture: what builds the module: "resnet8" or "xkd/resnet8" (a project architecture), "timm/NAME",
            "torchvision/NAME", or "py:package.module:name" (a class or function that takes the arguments).
        arguments: its keyword arguments, `num_classes` among them.
        state_dict: the module's parameters and buffers.
        preprocess: the input convention that it was trained with.
        class_names: K names in the order of the logits, or None.
        wordnet_ids: K WordNet ids in the same order, or None.
        recipe: the resolved recipe; empty where there was none.
        metrics: name to number, as measured when it was saved.
        versions: package name to version.
    """

    architecture: str
    arguments: dict[str, Any]
    state_dict: Mapping[str, Tensor]
    preprocess: Preprocess
    class_names: tuple[str, ...] | None = None
    wordnet_ids: tuple[str, ...] | None = None
    recipe: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


def save_checkpoint(checkpoint: Checkpoint, path: str | Path) -> None:
    """Write `path` whole or not at all: a temporary file beside it, synced, then renamed over it.

    Raises:
        XkdError: something in `checkpoint` is neither a tensor nor a plain value, or the place cannot be written.
    """
    path = Path(path)
    content = _to_content(checkpoint)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, durable=True) as file:
            torch.save(content, file)
    except OSError as error:
        raise XkdError(f"checkpoint: {str(path)!r} cannot be written: {error.strerror or error}") from None


def read_checkpoint(path: str | Path, argument: str = "model") -> Checkpoint:
    """The inverse of save_checkpoint; tensors on the CPU.

    Args:
        path: the file.
        argument: the option that named it, for the messages.

    Raises:
        XkdError: no readable file, not a checkpoint of this project, or one of a newer version.
    """
    content = read_weight_file(Path(path), argument)
    if not is_checkpoint(content):
        raise XkdError(
            f"{argument}: {str(path)!r} is not a checkpoint written by save_checkpoint (no format {FORMAT!r})"
        )
    if content.get("version") != VERSION:
        raise XkdError(
            f"{argument}: {str(path)!r} has checkpoint version {content.get('version')!r}; this release reads {VERSION}"
        )
    try:
        return _from_content(content)
    except (KeyError, TypeError) as error:
        raise XkdError(f"{argument}: {str(path)!r} is an incomplete checkpoint: {error}") from None


def is_checkpoint(content: Any) -> bool:
    """Whether what a file holds was written by save_checkpoint."""
    return isinstance(content, dict) and content.get("format") == FORMAT


def _to_content(checkpoint: Checkpoint) -> dict[str, Any]:
    content = {
        "format": FORMAT,
        "version": VERSION,
        "architecture": checkpoint.architecture,
        "arguments": checkpoint.arguments,
        "preprocess": checkpoint.preprocess.to_dict(),
        "class_names": _as_list(checkpoint.class_names),
        "wordnet_ids": _as_list(checkpoint.wordnet_ids),
        "recipe": checkpoint.recipe,
        "metrics": checkpoint.metrics,
        "versions": checkpoint.versions,
    }
    _check_plain(content, "checkpoint")
    # Cloned, so that a view does not drag its whole storage into the file.
    tensors = {name: tensor.detach().cpu().clone() for name, tensor in checkpoint.state_dict.items()}
    return {**content, "state_dict": tensors}


def _from_content(content: dict[str, Any]) -> Checkpoint:
    return Checkpoint(
        architecture=content["architecture"],
        arguments=content["arguments"],
        state_dict=content["state_dict"],
        preprocess=Preprocess.from_dict(content["preprocess"]),
        class_names=_as_tuple(content["class_names"]),
        wordnet_ids=_as_tuple(content["wordnet_ids"]),
        recipe=content["recipe"],
        metrics=content["metrics"],
        versions=content["versions"],
    )


def _check_plain(value: Any, where: str) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            _check_plain(item, f"{where}[{key!r}]")
    elif isinstance(value, list | tuple):
        for position, item in enumerate(value):
            _check_plain(item, f"{where}[{position}]")
    elif type(value) not in _PLAIN:
        raise XkdError(
            f"{where} is a {type(value).__name__}; a checkpoint holds tensors and plain values only "
            "(str, int, float, bool, None, list, tuple, dict): convert it first"
        )


def _as_list(names: tuple[str, ...] | None) -> list[str] | None:
    return None if names is None else [str(name) for name in names]


def _as_tuple(names: list[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)
