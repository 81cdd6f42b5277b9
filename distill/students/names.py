"""What models that are evaluated side by side are called: as short as tells them apart."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path, PurePath
from typing import Any

from torch import nn

from xkd_eval.arguments import one_or_more
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.words import without_words
from xkd_eval.errors import XkdError
from xkd_eval.foreign import is_there, short
from xkd_eval.study.models import Model, names_apart, split_name

Models = Model | Sequence[Model] | Mapping[str, Model]
"""One model, several, or several by name; a text may be NAME=MODEL."""

# Names that every training's files have.
_GENERIC = ("student", "best", "last")
_SEED = re.compile(r"seed-\d+")


def names_of(models: Models) -> list[tuple[str, Model]]:
    """Each model with its name, in the order given.

    A checkpoint is called by its path's end, as much of it as no other shares ("kd", "kd/seed-0"), a library's model as
    it is, without the options behind it unless they tell two apart; one that is given again "NAME #2".

    Raises:
        XkdError: none, something else, or two of one chosen name.
    """
    if isinstance(models, Mapping):
        pairs: list[tuple[str | None, Model]] = [(_text(name), _one(model)) for name, model in models.items()]
    else:
        expected = "a name, a path, a module or several of them"
        pairs = [split_name(given) for given in one_or_more(models, Model, "models", expected, f"expected {expected}")]
    if not pairs:
        raise XkdError("models: none given; expected at least one")
    chosen = [name for name, _ in pairs if name is not None]
    if twice := next((name for name in chosen if chosen.count(name) > 1), None):
        raise XkdError(f"models: two are called {short(twice)}; give one another name")
    others = [model for name, model in pairs if name is None]
    unnamed = names_apart(others, list(_apart([_parts(without_words(model)) for model in others])))
    taken = set(chosen)
    return [(_unique(next(unnamed) if name is None else name, name is None, taken), model) for name, model in pairs]


def unique_name(name: str, taken: set[str]) -> str:
    """The name, or "NAME #2" and so on where it is taken; it is taken then."""
    free = name if name not in taken else next(n for i in count(2) if (n := f"{name} #{i}") not in taken)
    taken.add(free)
    return free


def _unique(name: str, free: bool, taken: set[str]) -> str:
    return unique_name(name, taken) if free else name


def _apart(every: list[tuple[str, ...]]) -> Any:
    """For each path's parts the shortest end that is no other's."""
    for parts in every:
        lengths = range(1 + bool(_SEED.fullmatch(parts[-1])), len(parts) + 1)
        others = [other for other in every if other != parts]
        tails = (parts[-length:] for length in lengths)
        tail = next((tail for tail in tails if all(other[-len(tail) :] != tail for other in others)), parts)
        yield "/".join(tail)


def _parts(model: Model) -> tuple[str, ...]:
    """What a name is made of: a path's parts without suffixes and generic names."""
    if isinstance(model, nn.Module):
        return (_encodable(model.name if isinstance(model, Classifier) else type(model).__name__),)
    path = PurePath(model)
    is_file = is_there(model, Path.is_file) or path.suffix in (".pt", ".pth", ".safetensors", ".onnx", ".xml")
    if not is_file or not path.name:
        return (_encodable(str(model)),)
    parts = (*path.parts[:-1], path.stem)
    return tuple(map(_encodable, parts[:-1] if path.stem in _GENERIC and len(parts) > 1 else parts))


def _encodable(name: str) -> str:
    """A name that tables can hold: that of a file need not be UTF-8."""
    return name.encode(errors="backslashreplace").decode()


def _text(name: object) -> str:
    if not isinstance(name, str) or not name or name != _encodable(name):
        raise XkdError(f"models: one is called {short(name)}; expected a text")
    return name


def _one(model: object) -> Model:
    if not isinstance(model, Model):
        raise XkdError(f"models: {short(model)} found among them; expected names, paths and modules")
    return model
