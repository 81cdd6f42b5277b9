"""What a test returns, held to the contract in base.py: taken as it is meant, or refused by test and name."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import Any, NoReturn

import numpy as np

from xkd_eval.classifiers.arguments import described_values
from xkd_eval.datasets import ImageDataset
from xkd_eval.datasets.checks import checked
from xkd_eval.datasets.grids import Grids
from xkd_eval.errors import XkdError
from xkd_eval.evaluations.answers import Answers
from xkd_eval.evaluations.scores import STUDYS_COLUMNS, Columns, ScoreSpec
from xkd_eval.foreign import is_writable_name, is_writable_text, printable, short
from xkd_eval.registry import described

_FLOATS = (np.float16, np.float32, np.float64)
_PLAIN = "plain values: texts, finite numbers, True, False, None, and lists and dicts of them"


def named(test: Any) -> str:
    """How messages call a test, or its class, which need not have a name."""
    kind, name = test if isinstance(test, type) else type(test), getattr(test, "name", None)
    return f"test {name!r}" if isinstance(name, str) else f"test {kind.__qualname__}"


def read_only(values: np.ndarray) -> np.ndarray:
    """The same values, of which nobody makes others."""
    view = values.view()
    view.flags.writeable = False
    return view


def _rows(test: Any, found: Any, batch: Any) -> Columns:
    """Each column with memory of its own: a test may fill the same array for every batch."""
    count = len(batch.ids)
    columns = {name: _column(test, name, values, count) for name, values in _arrays(test, "rows", found).items()}
    if taken := [name for name in columns if name in STUDYS_COLUMNS]:
        _refuse(test, f"a column is called {taken[0]!r}, as a study calls one of its own; choose another name")
    return columns


def _column(test: Any, name: str, values: np.ndarray, count: int) -> np.ndarray:
    dtype = values.dtype
    is_number = dtype.kind in "biu" or dtype.newbyteorder("=") in _FLOATS
    shape = (count,) if values.ndim == 1 or dtype.kind == "U" else (count, *values.shape[1:2])
    if not (is_number or dtype.kind == "U") or values.shape != shape or 0 in shape:
        _refuse(
            test,
            f"its column {name!r} is {described_values(values)}; expected ({count},) or ({count}, n) numbers, or "
            f"({count},) texts: a row an image",
        )
    if dtype.kind == "U":
        for text in values.tolist():
            _writable(test, f"its column {name!r} holds", text)
    if isinstance(values, np.ma.MaskedArray):
        if values.ndim > 1 or dtype.kind != "f":
            _refuse(test, f"its column {name!r} is masked; expected ({count},) floats where an image may have none")
        return values.astype(dtype.newbyteorder("="), copy=True)
    return np.array(values, dtype=dtype.newbyteorder("="))


def _arrays(test: Any, what: str, found: Any) -> dict[str, np.ndarray]:
    """Columns by name."""
    if not isinstance(found, Mapping) or not found:
        _refuse(test, f"its {what} are {short(found)}; expected columns: a dict with a NumPy array a name")
    for name, values in found.items():
        if not isinstance(name, str) or not name:
            _refuse(test, f"a column of its {what} is called {short(name)}; expected a text")
        _writable(test, f"a column of its {what} is called", name)
        if not isinstance(values, np.ndarray):
            _refuse(test, f"its column {name!r} is {described_values(values)}; expected a NumPy array, a row an image")
    return dict(found)


def _columns(test: Any, found: Any, rows: Columns) -> Columns:
    count = len(next(iter(rows.values())))
    columns = _arrays(test, "columns", found) if found or not isinstance(found, Mapping) else {}
    for name, values in columns.items():
        if values.dtype.kind not in "biuf" or values.ndim not in (1, 2) or len(values) != count:
            expected = f"expected ({count},) or ({count}, n) numbers"
            _refuse(test, f"its column {name!r} is {described_values(values)}; {expected}")
    return columns


def _specs(test: Any, found: Any) -> tuple[ScoreSpec, ...]:
    """The scores, of which each holds its own functions to what they promise."""
    if not isinstance(found, tuple | list) or not all(isinstance(spec, ScoreSpec) for spec in found):
        _refuse(test, f"its specs are {short(found)}; expected a tuple of xkd_eval.ScoreSpec")
    names = [spec.name for spec in found]
    for name in names:
        if names.count(name) > 1:
            _refuse(test, f"two of its scores are called {name!r}; choose another name for one")
        if inner := [other for other in names if other.startswith(f"{name}.")]:
            _refuse(test, f"its score {name!r} cannot hold the score {inner[0]!r}; choose another name for one")
    return tuple(_held(test, spec) for spec in found)


def _held(test: Any, spec: ScoreSpec) -> ScoreSpec:
    compute, per_image = spec.compute, spec.per_image

    def computed(means: Mapping[str, np.ndarray]) -> np.ndarray:
        count = len(next(iter(means.values())))
        shape = (count,) if spec.x is None else (count, len(spec.x))
        return _numbers(test, f"its score {spec.name!r}", compute, means, shape)

    def of_images(rows: Columns) -> np.ndarray:
        assert per_image is not None
        return _numbers(test, f"per_image of {spec.name!r}", per_image, rows, (len(next(iter(rows.values()))),))

    held = copy.copy(spec)
    object.__setattr__(held, "compute", computed)
    object.__setattr__(held, "per_image", None if per_image is None else of_images)
    return held


def _numbers(
    test: Any, what: str, function: Callable[..., Any], given: Mapping[str, np.ndarray], shape: tuple[int, ...]
) -> np.ndarray:
    try:
        found = function({name: read_only(values) for name, values in given.items()})
    except XkdError:
        raise
    except Exception as error:  # a test of another package may raise anything
        known = printable(", ".join(given))
        raise XkdError(f"{named(test)}: {what} failed ({described(error)}); it is given the columns {known}") from error
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "biuf" or found.shape != shape:
        _refuse(test, f"{what} is {described_values(found)}; expected a NumPy array {shape} of numbers")
    return found


def _plain(test: Any, what: str, path: str, value: Any) -> Any:
    """As JSON would give it back; numpy's numbers stand for Python's."""
    where = f"of its {what}, {path!r} is"
    if value is None or isinstance(value, bool | np.bool_):
        return None if value is None else bool(value)
    if isinstance(value, str):
        return _writable(test, where, value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real) and math.isfinite(value):
        return float(value)
    if isinstance(value, list | tuple):
        return [_plain(test, what, path, inner) for inner in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {_writable(test, where, key): _plain(test, what, f"{path}.{key}", inner) for key, inner in value.items()}
    return _refuse(test, f"{where} {short(value)}; expected {_PLAIN}")


def _plain_dict(what: str) -> Callable[..., dict[str, Any]]:
    def check(test: Any, found: Any, *given: Any) -> dict[str, Any]:
        if not isinstance(found, Mapping):
            _refuse(test, f"its {what} are {short(found)}; expected a dict of {_PLAIN}")
        return {
            _writable(test, f"one of its {what} is called", name): _plain(test, what, name, value)
            for name, value in found.items()
        }

    return check


def _notes(test: Any, found: Any, *given: Any) -> list[str]:
    if not isinstance(found, list | tuple) or not all(isinstance(note, str) for note in found):
        _refuse(test, f"its notes are {short(found)}; expected a list of sentences")
    return list(found)


def _quality(test: Any, found: Any, rows: Columns) -> np.ndarray | None:
    count = len(next(iter(rows.values())))
    if found is None:
        return None
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "biuf" or found.shape != (count,):
        _refuse(test, f"its quality is {described_values(found)}; expected a NumPy array ({count},), or None")
    return found.astype(np.float64)


def _images(test: Any, found: Any, dataset: ImageDataset, answers: Answers) -> ImageDataset:
    if not isinstance(found, ImageDataset):
        _refuse(test, f"its images are {short(found)}; expected an ImageDataset")
    if isinstance(found, Grids):
        for model in answers.models:
            classes, shape = found.classes_of.get(model), (len(found.tiles), found.side**2)
            if not isinstance(classes, np.ndarray) or classes.dtype != np.int64 or classes.shape != shape:
                what = described_values(classes)
                _refuse(test, f"its grids have the classes {what} for {model}; expected int64 {shape}, one a tile")
    return found if found is dataset else checked(found)


def _size(test: Any, found: Any, *given: Any) -> tuple[int, int]:
    sides = found if isinstance(found, tuple | list) else ()
    if len(sides) != 2 or not all(isinstance(side, Integral) and int(side) > 0 for side in sides):
        _refuse(test, f"its scored_size is {short(found)}; expected height and width in pixels")
    return int(sides[0]), int(sides[1])


def _figure(test: Any, found: Any, *given: Any) -> Any:
    if found is not None and not hasattr(found, "savefig"):
        _refuse(test, f"its curve_figure is {short(found)}; expected a matplotlib Figure, or None")
    return found


def _figures(test: Any, found: Any, *given: Any) -> dict[str, Any]:
    if not isinstance(found, Mapping) or not all(hasattr(figure, "savefig") for figure in found.values()):
        _refuse(test, f"its figures are {short(found)}; expected a dict with a matplotlib Figure a name")
    if odd := [name for name in found if not isinstance(name, str) or not is_writable_name(name)]:
        _refuse(test, f"one of its figures is called {short(odd[0])}; expected a name that a file can have")
    return dict(found)


def _made(kind: Any, found: Any, *given: Any) -> Any:
    if not isinstance(found, kind):
        _refuse(kind, f"{short(found)} was made; expected a test of its class")
    return found


def _writable(test: Any, what: str, text: Any) -> str:
    if not isinstance(text, str) or not is_writable_text(text):
        _refuse(test, f"{what} {short(text)}; expected text that is valid as UTF-8")
    return text


def _refuse(test: Any, fault: str) -> NoReturn:
    raise XkdError(f"{named(test)}: {fault}")


CHECKS: dict[str, Callable[..., Any]] = {
    "rows": _rows,
    "columns": _columns,
    "specs": _specs,
    "settings": _plain_dict("settings"),
    "extras": _plain_dict("extras"),
    "notes": _notes,
    "quality": _quality,
    "images": _images,
    "scored_size": _size,
    "curve_figure": _figure,
    "figures": _figures,
    "create": _made,
    "from_description": _made,
}
"""Method of a test -> (the test, what it returned, what it was given) -> what it is taken as; raises XkdError."""
