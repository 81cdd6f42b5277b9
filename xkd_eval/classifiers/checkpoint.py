"""student.pt: a trained classifier as tensors and plain values, written atomically and read without running code."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Strict, StrictStr
from torch import Tensor

from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.classifiers.weights.files import read_weight_file
from xkd_eval.classifiers.weights.tensors import plain_tensors
from xkd_eval.errors import XkdError
from xkd_eval.files import replacing, writing
from xkd_eval.foreign import parsed, short

FORMAT = "xkd-checkpoint"
VERSION = 1

_PLAIN = (str, int, float, bool, type(None))
_FREE = ("arguments", "recipe", "metrics", "training")  # whose values no type describes
_DEEPEST = 50

_Names = Annotated[tuple[StrictStr, ...], Strict()]


@dataclass(frozen=True)
class Checkpoint:
    """A trained classifier and how it came about.

    Attributes:
        architecture: what builds the module: "resnet8" or "xkd/resnet8" (a project architecture), "timm/NAME",
            "torchvision/NAME", or "py:package.module:builder", whose module is imported when the network is built.
        arguments: its keyword arguments, `num_classes` among them.
        state_dict: the module's parameters and buffers.
        preprocess: the input convention that it was trained with.
        class_names: K names in the order of the logits, or None.
        wordnet_ids: K WordNet ids in the same order, or None.
        recipe: the resolved recipe; empty where there was none.
        metrics: name to number, as measured when it was saved.
        versions: package name to version.
        training: what else is known of how it came about: images, teachers and what they are right on; empty where
            nothing is, as in files of before it was kept.

    Example:
        >>> from xkd_eval import Checkpoint, Preprocess
        >>> from xkd_eval.classifiers.architectures import build
        >>> weights = build("resnet8", num_classes=3).state_dict()
        >>> trained_with = Preprocess(size=32, mean=0.5, std=0.5)
        >>> Checkpoint("resnet8", {"num_classes": 3}, weights, trained_with).preprocess.std
        (0.5, 0.5, 0.5)
    """

    architecture: StrictStr
    arguments: dict[StrictStr, Any]
    state_dict: dict[StrictStr, Tensor]
    preprocess: Preprocess
    class_names: _Names | None = None
    wordnet_ids: _Names | None = None
    recipe: dict[StrictStr, Any] = field(default_factory=dict)
    metrics: dict[StrictStr, Any] = field(default_factory=dict)
    versions: dict[StrictStr, StrictStr] = field(default_factory=dict)
    training: dict[StrictStr, Any] = field(default_factory=dict)

    __pydantic_config__: ClassVar = {"extra": "forbid", "arbitrary_types_allowed": True}

    def __post_init__(self) -> None:
        count = self.arguments.get("num_classes")
        if "num_classes" in self.arguments and (type(count) is not int or count < 1):
            raise XkdError(f"arguments: num_classes is {short(count)}; expected a whole number from 1")
        for name, listed in (("class_names", self.class_names), ("wordnet_ids", self.wordnet_ids)):
            if listed is not None and count is not None and len(listed) != count:
                raise XkdError(f"{name}: {len(listed)} found, and `num_classes` is {count}; expected one a class")


def save_checkpoint(checkpoint: Checkpoint, path: str | Path) -> None:
    """Write `path` whole or not at all: a temporary file beside it, synced, then renamed over it.

    Raises:
        XkdError: something in `checkpoint` is neither a tensor nor a plain value, or the place cannot be written.

    Example:
        >>> from xkd_eval import Checkpoint, Preprocess, load_classifier, save_checkpoint
        >>> from xkd_eval.classifiers.architectures import build
        >>> weights = build("resnet8", num_classes=3).state_dict()
        >>> save_checkpoint(Checkpoint("resnet8", {"num_classes": 3}, weights, Preprocess(size=32)), "mine.pt")
        >>> str(load_classifier("mine.pt").input_from)
        'checkpoint'
    """
    path = Path(path)
    # Cloned, so that a view does not drag its whole storage into the file.
    tensors = {name: tensor.detach().cpu().clone() for name, tensor in checkpoint.state_dict.items()}
    # In memory first: what torch says while it writes to a full disk is not that the disk is full.
    content = io.BytesIO()
    torch.save({**plain_content(checkpoint), "state_dict": tensors}, content)
    with writing(f"checkpoint: {str(path)!r}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, durable=True) as file:
            file.write(content.getbuffer())


def read_checkpoint(path: str | Path, argument: str = "model") -> Checkpoint:
    """The inverse of save_checkpoint; tensors on the CPU.

    Args:
        path: the file.
        argument: the option that named it, for the messages.

    Raises:
        XkdError: no readable file, not a checkpoint of this project, or one of a newer version.
    """
    return parsed_checkpoint(read_weight_file(Path(path), argument), path, argument)


def parsed_checkpoint(content: Any, path: str | Path, argument: str = "model") -> Checkpoint:
    """The checkpoint in what `read_weight_file` has read.

    Args:
        content: of the file.
        path, argument: the file and the option that named it, for the messages.

    Raises:
        XkdError: not a checkpoint of this project, one of a newer version, or a part of another type or out of range.
    """
    where = f"{argument}: {str(path)!r}"
    if not is_checkpoint(content):
        raise XkdError(f"{where} is not a checkpoint written by save_checkpoint (no format {FORMAT!r})")
    version = content.get("version")
    if type(version) is not int or version != VERSION:
        raise XkdError(f"{where} has checkpoint version {short(version)}; this release reads {VERSION}")
    where = f"{where} is no whole checkpoint"
    values = {name: value for name, value in content.items() if name not in ("format", "version")}
    for name in ("class_names", "wordnet_ids"):
        if isinstance(values.get(name), list):
            values[name] = tuple(values[name])
    if "preprocess" in values:
        values["preprocess"] = Preprocess.from_dict(values["preprocess"], f"{where}: preprocess")
    checkpoint = parsed(Checkpoint, values, where)
    _check_plain({name: value for name, value in vars(checkpoint).items() if name in _FREE}, f"{where}: it")
    plain_tensors(checkpoint.state_dict, f"{argument}: {str(path)!r}")
    return checkpoint


def is_checkpoint(content: Any) -> bool:
    """Whether what a file holds was written by save_checkpoint."""
    written = content.get("format") if isinstance(content, dict) else None
    return isinstance(written, str) and written == FORMAT


def plain_content(checkpoint: Checkpoint) -> dict[str, Any]:
    """All but the tensors, as plain values.

    Raises:
        XkdError: something is no plain value.
    """
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
        **({"training": checkpoint.training} if checkpoint.training else {}),
    }
    _check_plain(content, "checkpoint")
    return content


def _check_plain(value: Any, where: str, depth: int = 0) -> None:
    if depth > _DEEPEST:
        raise XkdError(f"{where[:200]} is nested too deeply; expected plain values")
    if isinstance(value, dict):
        for key, item in value.items():
            _check_plain(item, f"{where}[{short(key)}]", depth + 1)
    elif isinstance(value, list | tuple):
        for position, item in enumerate(value):
            _check_plain(item, f"{where}[{position}]", depth + 1)
    elif type(value) not in _PLAIN:
        raise XkdError(
            f"{where} is a {type(value).__name__}; a checkpoint holds tensors and plain values only "
            "(str, int, float, bool, None, list, tuple, dict): convert it first"
        )


def _as_list(names: tuple[str, ...] | None) -> list[str] | None:
    return None if names is None else [str(name) for name in names]
