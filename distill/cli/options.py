"""The options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from xkd_eval.errors import XkdError

WHAT = "What is trained"
HOW = "How it runs"


class PrecisionChoice(StrEnum):
    """--precision."""

    fp32 = "fp32"
    bf16 = "bf16"


Data = Annotated[str | None, typer.Option("--data", "-d", help="The data set's folder or file.", rich_help_panel=WHAT)]
Teacher = Annotated[
    str | None,
    typer.Option("--teacher", "-t", help="A model in place of the recipe's teacher.", rich_help_panel=WHAT),
]
TeacherWeights = Annotated[
    Path | None, typer.Option(help="Weights for a timm, torchvision or xkd name.", rich_help_panel=WHAT)
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", help="key=value of the recipe, such as epochs=60; repeat it.", rich_help_panel=WHAT),
]
Capture = Annotated[
    bool, typer.Option("--capture", help="Launch each step on a GPU as one CUDA graph.", rich_help_panel=HOW)
]
Device = Annotated[str, typer.Option(help="auto, cpu.", rich_help_panel=HOW)]


def seeds(text: str | None) -> tuple[int, ...]:
    """ "0,1,2" -> (0, 1, 2).

    Raises:
        XkdError: something else, or one seed twice.
    """
    if text is None:
        return ()
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts) or len(set(parts)) < len(parts):
        raise XkdError(f"--seeds: {text!r} found; expected different whole numbers, such as 0,1,2")
    return tuple(int(part) for part in parts)
