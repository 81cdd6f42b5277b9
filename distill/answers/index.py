"""index.json of a folder of answers: what they are of, how they are stored, and the digest of each file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, JsonValue

from distill.answers.form import AnswerForm
from distill.data.identity import ImagesIdentity
from distill.recipe.fields import Count, Strict
from xkd_eval.digests import digest_of
from xkd_eval.errors import XkdError
from xkd_eval.foreign import parsed, read_json

INDEX = "index.json"
"""What says which answers a folder holds."""

Precision = Literal["fp32", "tf32", "bf16", "fp16"]


class AnswerSource(Strict):
    """What answers are of: where it is equal, so are they, up to the machine's rounding.

    Attributes:
        images: all training images, those included that a training may hold out.
        n_images: how many these are.
        teacher: its `teacher_digest`.
        shown: what it is shown of an image, see `distill.answers.shown`.
    """

    images: ImagesIdentity
    n_images: Count
    teacher: str
    shown: dict[str, JsonValue]


class AnswerRound(Strict):
    """A file of answers: its size and SHA-256."""

    bytes: Count
    digest: str


class AnswerIndex(Strict):
    """What index.json holds; `digest` is of all else in it."""

    format: Literal["xkd-answers"] = "xkd-answers"
    version: Literal[1] = 1
    source: AnswerSource
    form: AnswerForm
    precision: Precision
    rounds: list[AnswerRound] = Field(default_factory=list)
    digest: str = ""

    def sealed(self) -> str:
        """As text, with its digest."""
        values = self.model_dump(mode="json", exclude={"digest"})
        return json.dumps({**values, "digest": digest_of(values)}, indent=2) + "\n"


def file_of(number: int) -> str:
    """The name of a round's file."""
    return f"round-{number:04}.npy"


def read_index(path: Path, argument: str) -> AnswerIndex:
    """The index of a folder.

    Args:
        path: of the folder.
        argument: that named it.

    Raises:
        XkdError: there is none, or it is damaged.
    """
    where = f"{argument}: {str(path)!r}"
    if not (path / INDEX).is_file():
        raise XkdError(f"{where} holds no stored answers; make them by `xkd-distill store`")
    values: Any = read_json(path / INDEX, argument, "store them anew")
    index = parsed(AnswerIndex, values, f"{where}: {INDEX}")
    if json.loads(index.sealed())["digest"] != index.digest:
        raise XkdError(f"{where}: {INDEX} is not as it was written; restore it, or store them anew")
    return index


def differing(theirs: AnswerSource, ours: AnswerSource) -> str:
    """In what two sources differ first, in words that follow "holds answers"."""
    if theirs.n_images != ours.n_images:
        return f"to {theirs.n_images:,} images, and there are {ours.n_images:,} here"
    if theirs.images != ours.images:
        return "to other images, which differ in names, labels, sizes or content"
    if theirs.teacher != ours.teacher:
        return "of another teacher, which differs in its weights or its input convention"
    for key in dict.fromkeys([*ours.shown, *theirs.shown]):
        there, here = (json.dumps(shown.get(key)) for shown in (theirs.shown, ours.shown))
        if there != here:
            return f"to images of another augmentation: {key} is {there} there, and {here} here"
    return "to images of other classes"
