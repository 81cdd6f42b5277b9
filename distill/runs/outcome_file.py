"""result.json: what a finished training came to, sealed so that an edited or damaged one is noticed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from distill.recipe.fields import Count, CountOrZero, Seed, Strict
from distill.runs.epochs import TRAINED, EpochMetrics
from distill.runs.layout import METRICS, RECIPE, RESULT, STATE, STUDENT
from distill.runs.origin import Origin
from xkd_eval.digests import digest_of
from xkd_eval.errors import XkdError
from xkd_eval.foreign import parsed, read_bytes, read_json

_NEEDED = ("test_top1", "test_loss")
# Field of the result to the file whose SHA-256 it is.
_FILES = {"recipe": RECIPE, "metrics": METRICS, "weights": STUDENT}


def _with_scores(epoch: dict[str, float]) -> dict[str, float]:
    for name in _NEEDED:
        if name not in epoch and f"{name}{TRAINED}" not in epoch:
            raise ValueError(f"{name} is missing")
    return epoch


_Size = Annotated[float, Field(ge=0, strict=False)]
_Epoch = Annotated[EpochMetrics, AfterValidator(_with_scores)]


class _Average(Strict):
    """Which weights student.pt holds, and which are the better ones on the images that select the epoch."""

    saved: Literal["average", "trained"]
    better: Literal["average", "trained"]


class _Result(Strict):
    """See `distill.TrainingResult`; `recipe`, `metrics`, `weights` and `digest`: SHA-256 of files and of all else."""

    origin: Origin
    last: _Epoch
    best: _Epoch
    best_on: Literal["validation images", "held-out training images", "test images"]
    student: Literal["last", "best"]
    average: _Average | None
    teachers: dict[str, dict[str, float]]
    seed: Seed
    epochs: Count
    train_images: Count
    processes: Count
    batch_norm_images: Count
    seconds: _Size
    images_per_second: _Size
    parameters: CountOrZero
    macs: _Size | None
    peak_memory: _Size
    device: str
    versions: dict[str, str]
    notes: list[str] = Field(default=[])
    recipe: str
    metrics: str
    weights: str
    digest: str


def sealed(result: Mapping[str, Any], files: Mapping[str, bytes]) -> dict[str, Any]:
    """A result with the digests by which it, and the files beside it, are known again.

    Args:
        result: plain values.
        files: what recipe.yaml, metrics.csv and student.pt hold, by these names.
    """
    values = {**result, **{field: _sha256(files[name]) for field, name in _FILES.items()}}
    return {**values, "digest": digest_of(values)}


def read_result(directory: Path) -> dict[str, Any] | None:
    """What the finished training in a directory came to, see `distill.TrainingResult`.

    Returns:
        None where none has finished, or where its student is gone: it is continued then.

    Raises:
        XkdError: the file, its recipe or its student is gone, or is not what the training wrote.
    """
    file = directory / RESULT
    if not file.is_file() or not (directory / STUDENT).is_file():
        return None
    where = f"output {directory}: {RESULT}"
    try:
        values = read_json(file, f"output {directory}", "it was edited or damaged")
        parsed(_Result, values, where)
    except XkdError as error:
        raise XkdError(f"{error}; {_again(directory)}") from None
    if values["digest"] != digest_of({name: value for name, value in values.items() if name != "digest"}):
        raise XkdError(f"{where} is not what the training wrote, so it was edited or damaged; {_again(directory)}")
    for field in ("recipe", "weights"):
        _read_file(directory, values, field)
    return values


def test_score(result: Mapping[str, Any], epoch: str, name: str) -> float | None:
    """What an epoch of a finished training came to on the test images.

    Args:
        result: of `read_result`.
        epoch: "last" or "best".
        name: of a score, "top1".

    Returns:
        Of the epoch that student.pt is, the score of the weights that it holds; of another, of the moving average where
        there is one. None without such a score.
    """
    average = result["average"]
    holds_trained = average is not None and average["saved"] == "trained" and epoch == result["student"]
    value: float | None = result[epoch].get(f"test_{name}{TRAINED if holds_trained else ''}")
    return value


def read_metrics(directory: Path, result: Mapping[str, Any]) -> bytes:
    """What metrics.csv holds.

    Args:
        directory: of a finished training.
        result: of `read_result`.

    Raises:
        XkdError: it is gone, or was edited or damaged.
    """
    return _read_file(directory, result, "metrics")


def check_student(directory: Path, result: Mapping[str, Any]) -> None:
    """Refuse a student.pt that is not what the training wrote; arguments as for `read_metrics`.

    Raises:
        XkdError: it is gone, or another.
    """
    _read_file(directory, result, "weights")


def _read_file(directory: Path, result: Mapping[str, Any], field: str) -> bytes:
    try:
        content = read_bytes(directory / _FILES[field], f"output {directory}")
    except XkdError as error:
        raise XkdError(f"{error}; {_again(directory)}") from None
    if _sha256(content) != result[field]:
        raise XkdError(
            f"output {directory}: {_FILES[field]} is not what the training wrote, so it was edited, exchanged or "
            f"damaged; {_again(directory)}"
        )
    return content


def _again(directory: Path) -> str:
    """What makes a result again: the state that is still there, or else the whole training."""
    if (directory / STATE).is_file():
        return f"remove {RESULT}, and `resume` makes it again"
    return "`overwrite` trains it again"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
