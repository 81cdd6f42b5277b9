"""What an export of this project writes into a graph's own notes: the input convention, the classes, the outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Strict, StrictStr

from xkd_eval.classifiers.checkpoint import FORMAT, VERSION
from xkd_eval.classifiers.graphs.graph import ImageInput
from xkd_eval.classifiers.overrides import with_channels
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.errors import XkdError
from xkd_eval.foreign import json_value, parsed, reading, short

_READ = ("preprocess", "class_names", "wordnet_ids", "outputs")

KEYS = ("format", "version", *_READ)
"""What is read of a graph's own notes."""

_DEFAULT_SIDE = 224

_Names = Annotated[tuple[StrictStr, ...], Strict()]


@dataclass(frozen=True)
class Description:
    """What a graph says of itself.

    Attributes:
        preprocess: the input convention.
        class_names, wordnet_ids: K each, or None.
        is_told: whether an export of this project says so; otherwise it is assumed.
        outputs: "logits" and, where the graph gives maps, "cam" -> the names of those outputs.
    """

    preprocess: Preprocess
    class_names: _Names | None = None
    wordnet_ids: _Names | None = None
    outputs: dict[StrictStr, StrictStr] | None = None
    is_told: bool = True

    __pydantic_config__: ClassVar = {"extra": "forbid", "arbitrary_types_allowed": True}


def read_description(texts: Mapping[str, str], given: ImageInput, where: str) -> Description:
    """What a graph says of itself; the default, sized by its input, where no export of this project wrote it.

    Args:
        texts: the graph's own notes, by name.
        given: what it is fed with.
        where: begins messages.

    Raises:
        XkdError: a part of another type or out of range, or a size that the graph does not take.
    """
    size = tuple(_DEFAULT_SIDE if side is None else side for side in given.size)
    if not _is_ours(texts):
        assumed = Preprocess.from_dict({**Preprocess().to_dict(), "size": size}, where)
        return Description(with_channels(assumed, given.channels), is_told=False)
    with reading(f"{where} has metadata that is no JSON", "export it again"):
        values = {name: json_value(texts[name]) for name in _READ if name in texts}
        version = json_value(texts.get("version", "null"))
    if type(version) is not int or version != VERSION:
        raise XkdError(f"{where} has version {short(version)}; this release reads {VERSION}")
    for name in ("class_names", "wordnet_ids"):
        if isinstance(values.get(name), list):
            values[name] = tuple(values[name])
    values["preprocess"] = Preprocess.from_dict(values.get("preprocess"), f"{where}: preprocess")
    return parsed(Description, values, f"{where}: its metadata")


def named_logits(texts: Mapping[str, str], outputs: Sequence[str]) -> str | None:
    """The output that holds the logits, where an export of this project or its own name says so."""
    named: Any = None
    if _is_ours(texts) and "outputs" in texts:
        with reading("model: its metadata is no JSON", "export it again"):
            named = json_value(texts["outputs"])
    written = named.get("logits") if isinstance(named, dict) else None
    return next((name for name in (written, "logits") if name in outputs), None)


def _is_ours(texts: Mapping[str, str]) -> bool:
    return texts.get("format") == f'"{FORMAT}"'
