"""last.pt: all that a training continues from, as typed plain values and tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Literal

import torch
from pydantic import JsonValue

from distill.recipe.schema import CountOrZero, Strict
from xkd_eval.classifiers.weight_files import read_weight_file
from xkd_eval.errors import XkdError
from xkd_eval.foreign import parsed

FORMAT, VERSION = "xkd-training", 1

_AFRESH = "`overwrite` starts afresh"


class _Means(Strict):
    """See `distill.training.means.EpochMeans`."""

    names: list[str]
    steps: CountOrZero
    sums: Any


class _State(Strict):
    """See `distill.training.state.state_of`; what the tensors must be, the networks say."""

    format: Literal["xkd-training"]
    version: Literal[1]
    recipe: dict[str, JsonValue]
    teacher: str | None
    epoch: CountOrZero
    step: CountOrZero
    history: list[dict[str, float]]
    best: dict[str, float] | None
    means: _Means
    student: dict[str, Any]
    methods: dict[str, Any]
    optimiser: dict[str, Any]
    average: dict[str, Any] | None


def write_state(state: Mapping[str, Any], file: BinaryIO) -> None:
    """Write what `read_state` gives back."""
    torch.save({"format": FORMAT, "version": VERSION, **state}, file)


def read_state(file: Path) -> dict[str, Any]:
    """What a training continues from.

    Raises:
        XkdError: unreadable, no training state, or one of another version.
    """
    try:
        state = read_weight_file(file, "resume")
        if not isinstance(state, dict) or state.get("format") != FORMAT:
            raise XkdError(f"resume: {str(file)!r} is no training state")
        parsed(_State, state, f"resume: {str(file)!r}")
    except XkdError as error:
        raise XkdError(f"{error}; {_AFRESH}") from None
    return state
