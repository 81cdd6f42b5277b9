"""Options that stand behind a model's name: "timm/resnet18,weights=mine.pth,size=64,mean=0.5,std=0.5"."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from xkd_eval.classifiers.overrides import FIELDS, with_overrides
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.classifiers.weights.unwrapping import parted
from xkd_eval.errors import XkdError
from xkd_eval.foreign import is_there, short
from xkd_eval.registry import near
from xkd_eval.written import written_numbers, written_size


class Words(NamedTuple):
    """A model as it was written.

    Attributes:
        name: without its options.
        options: key to text, in the order given.
    """

    name: str
    options: dict[str, str]


def split_words(model: str) -> Words:
    """A model's name and the options behind it, not yet read.

    A file is itself, whatever commas and signs its name holds. A piece without "=" goes on with what stands before it:
    "net,mean=0.485,0.456,0.406" has one option.

    Args:
        model: as it was written.

    Raises:
        XkdError: an option twice.
    """
    pieces = model.split(",")
    files = (count for count in range(len(pieces), 0, -1) if is_there(",".join(pieces[:count])))
    named = next(files, 1) if len(pieces) > 1 else 1
    name, options, latest = ",".join(pieces[:named]), dict[str, str](), ""
    for piece in pieces[named:]:
        key, equals, value = piece.partition("=")
        if equals:
            latest = key.strip()
            if latest in options:
                raise XkdError(f"model: {short(model)}: {short(latest)} is given twice; leave one out")
            options[latest] = value
        elif latest:
            options[latest] += f",{piece}"
        else:
            name += f",{piece}"
    return Words(name, {key: value.strip() for key, value in options.items()})


def read_words(model: str) -> tuple[str, dict[str, Any]]:
    """A model's name, and the options behind it as arguments of `load_classifier`.

    Raises:
        XkdError: an option that no model has, or a value that it does not take.

    Example:
        >>> from xkd_eval.classifiers.words import read_words
        >>> read_words("student.pt,size=64x96,mean=0.485,0.456,0.406,std=1/4")
        ('student.pt', {'size': (64, 96), 'mean': (0.485, 0.456, 0.406), 'std': 0.25})
    """
    name, options = split_words(model)
    where = f"model: {short(model)}"
    for key in options:
        if key not in _READERS:
            nearest = "".join(f"; nearest: {other}" for other in near(key, _READERS, count=1))
            raise XkdError(
                f"{where} is no file, and no model has the option {short(key)}{nearest}; it takes {', '.join(_READERS)}"
            )
    try:
        found = {key: _READERS[key](key, text) for key, text in options.items()}
        with_overrides(Preprocess(), {key: value for key, value in found.items() if key in FIELDS})
    except XkdError as error:
        raise XkdError(f"{where}: {error}") from None
    return name, found


def without_words(model: Any) -> Any:
    """A model without the options behind its name; a path or a module is as it is."""
    return split_words(model).name if isinstance(model, str) else model


def weights_in(model: Any) -> Path | None:
    """The file of weights among the options behind a model's name."""
    found = split_words(model).options.get("weights") if isinstance(model, str) else None
    return parted(found)[0] if found else None


def files_of(model: Any) -> list[str | Path]:
    """What a model's name may read: the name itself, and its weights."""
    named = [without_words(model), weights_in(model)]
    return [file for file in named if isinstance(file, str | Path)]


def _text(key: str, text: str) -> str:
    if not text:
        raise XkdError(f"{key}: nothing behind the sign; expected a value")
    return text


def _whole(key: str, text: str) -> int:
    if not (text.isdecimal() and len(text) < 10 and int(text) > 0):
        raise XkdError(f"{key}: {short(text)} found; expected a whole number of at least 1")
    return int(text)


def _place(key: str, text: str) -> int | str:
    return int(text) if text.isdecimal() and len(text) < 10 else _text(key, text)


def _numbers(key: str, text: str) -> float | tuple[float, ...]:
    values = written_numbers(key, text.strip("()[] "))
    return values[0] if len(values) == 1 else values


_READERS: dict[str, Callable[[str, str], Any]] = {
    "weights": _text,
    "num_classes": _whole,
    "output": _place,
    "size": written_size,
    "resize": _text,
    "interpolation": _text,
    "mean": _numbers,
    "std": _numbers,
    "channel_order": _text,
    "value_range": _numbers,
    "crop_fraction": _numbers,
    "channels": _whole,
}
"""Argument of `load_classifier` -> what reads it where it stands behind a model's name."""
