"""last.pt: all that a training continues from, as typed plain values and tensors under a digest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import torch
from pydantic import Field
from torch import Tensor

from distill.recipe.fields import CountOrZero, Strict
from distill.runs.epochs import EpochMetrics
from distill.runs.origin import Origin
from xkd_eval.classifiers.weights.files import read_weight_file
from xkd_eval.errors import XkdError
from xkd_eval.foreign import parsed, reading, short

FORMAT, VERSION = "xkd-training", 3

_AFRESH = "`overwrite` starts afresh"
_PLAIN = (str, int, float, bool, bytes, type(None))


class _Means(Strict):
    """See `distill.training.means.EpochMeans`."""

    names: list[str]
    steps: CountOrZero
    sums: Any


class _State(Strict):
    """See `distill.training.state.state_of`; what the tensors must be, the networks say."""

    format: Literal["xkd-training"]
    version: Literal[3]
    digest: str
    origin: Origin
    epoch: CountOrZero
    step: CountOrZero
    seconds: Annotated[float, Field(ge=0)]
    history: list[EpochMetrics]
    best: EpochMetrics | None
    best_file: str | None
    means: _Means
    student: dict[str, Any]
    methods: dict[str, Any]
    optimiser: dict[str, Any]
    average: dict[str, Any] | None
    scaler: dict[str, Any]


def write_state(state: Mapping[str, Any], file: BinaryIO) -> None:
    """Write what `read_state` gives back.

    Raises:
        XkdError: a part is neither a tensor nor a plain value.
    """
    values = {**state, "format": FORMAT, "version": VERSION}
    torch.save({**values, "digest": state_digest(values)}, file)


def read_state(file: Path) -> dict[str, Any]:
    """What a training continues from.

    Raises:
        XkdError: unreadable, no training state, one of another version, or not as it was written.
    """
    where = f"resume: {str(file)!r}"
    try:
        state = read_weight_file(file, "resume")
        if not isinstance(state, dict) or state.get("format") != FORMAT:
            raise XkdError(f"{where} is no training state")
        version = state.get("version")
        if type(version) is not int or version != VERSION:
            raise XkdError(f"{where}: version: {short(version)} found; this release reads {VERSION}")
        with reading(f"{where} is no training state", "expected what a training writes"):
            digest = state_digest(state)
        if state.get("digest") != digest:
            raise XkdError(f"{where} is not what the training wrote, so it was edited or damaged")
        parsed(_State, state, where)
    except XkdError as error:
        raise XkdError(f"{error}; {_AFRESH}") from None
    return state


def state_digest(state: Mapping[Any, Any]) -> str:
    """sha256, in hexadecimal, over all of a state but its "digest", in whatever order: keys, kinds, shapes, bytes.

    Raises:
        XkdError: a part is neither a tensor nor a plain value.
    """
    sha = hashlib.sha256()
    for part in _parts({key: value for key, value in state.items() if key != "digest"}):
        sha.update(len(part).to_bytes(8, "little"))
        sha.update(part)
    return sha.hexdigest()


def _parts(value: Any) -> Iterator[bytes]:
    """What tells a value from all others, in pieces of which each counts with its length."""
    if isinstance(value, Tensor):
        yield f"tensor {value.dtype} {tuple(value.shape)}".encode()
        yield value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    elif isinstance(value, Mapping):
        yield f"mapping {len(value)}".encode()
        for key, item in sorted(value.items(), key=lambda entry: repr(entry[0])):
            yield from _parts(key)
            yield from _parts(item)
    elif isinstance(value, list | tuple):
        yield f"{'list' if isinstance(value, list) else 'tuple'} {len(value)}".encode()
        for item in value:
            yield from _parts(item)
    elif isinstance(value, _PLAIN):
        yield f"{type(value).__name__} {value!r}".encode(errors="surrogatepass")
    else:
        raise XkdError(f"training: the state holds {short(value)}; expected tensors and plain values")
