"""result.json: what a finished training came to, sealed so that an edited or damaged one is noticed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator

from distill.recipe.schema import Count, Seed, Strict
from distill.runs.layout import METRICS, RESULT, STUDENT
from xkd_eval.digests import digest_of
from xkd_eval.errors import XkdError
from xkd_eval.foreign import parsed, read_bytes, read_json

_AGAIN = f"remove {RESULT}, and `resume` makes it again"
_NEEDED = ("epoch", "test_top1", "test_loss")


def _with_scores(epoch: dict[str, float]) -> dict[str, float]:
    if missing := [name for name in _NEEDED if name not in epoch]:
        raise ValueError(f"{missing[0]} is missing")
    return epoch


_Epoch = Annotated[dict[str, float], AfterValidator(_with_scores)]


class _Result(Strict):
    """See `distill.TrainingResult`; `metrics`, `weights` and `digest` are SHA-256 of two files and of all others."""

    last: _Epoch
    best: _Epoch
    best_on: str
    student: Literal["last", "best"]
    seed: Seed
    epochs: Count
    train_images: Count
    processes: Count
    batch_norm_images: Count
    metrics: str
    weights: str
    digest: str


def sealed(result: Mapping[str, Any], metrics: bytes, student: bytes) -> dict[str, Any]:
    """A result with the digests by which `read_result` and `read_metrics` know it again.

    Args:
        result: plain values.
        metrics, student: what metrics.csv and student.pt hold.
    """
    files = {"metrics": metrics, "weights": student}
    values = {**result, **{name: hashlib.sha256(content).hexdigest() for name, content in files.items()}}
    return {**values, "digest": digest_of(values)}


def read_result(directory: Path) -> dict[str, Any] | None:
    """What the finished training in a directory came to, see `distill.TrainingResult`.

    Returns:
        None where none has finished, or where its student is gone: it is continued then.

    Raises:
        XkdError: the file was edited or damaged, or the student is another.
    """
    file = directory / RESULT
    if not file.is_file() or not (directory / STUDENT).is_file():
        return None
    where = f"output {directory}: {RESULT}"
    try:
        values = read_json(file, f"output {directory}")
        parsed(_Result, values, where)
    except XkdError as error:
        raise XkdError(f"{error}; {_AGAIN}") from None
    if values["digest"] != digest_of({name: value for name, value in values.items() if name != "digest"}):
        raise XkdError(f"{where} is not what the training wrote, so it was edited or damaged; {_AGAIN}")
    if values["weights"] != hashlib.sha256(read_bytes(directory / STUDENT, f"output {directory}")).hexdigest():
        raise XkdError(f"output {directory}: {STUDENT} is not what the training wrote; {_AGAIN}, too")
    return values


def read_metrics(directory: Path, result: Mapping[str, Any]) -> bytes:
    """What metrics.csv holds.

    Args:
        directory: of a finished training.
        result: of `read_result`.

    Raises:
        XkdError: it is gone, or was edited or damaged.
    """
    content = read_bytes(directory / METRICS, f"output {directory}")
    if hashlib.sha256(content).hexdigest() != result["metrics"]:
        raise XkdError(
            f"output {directory}: {METRICS} is not what the training wrote, so it was edited or damaged; {_AGAIN}, too"
        )
    return content
