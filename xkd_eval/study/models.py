"""What is evaluated side by side: models, their names, and which of them are training seeds of one student."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from xkd_eval.arguments import one_or_more
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.words import split_words, without_words
from xkd_eval.errors import XkdError
from xkd_eval.foreign import is_there, short

Model = str | Path | nn.Module
"""What `load_classifier` takes."""

Models = Model | Sequence[Model] | Mapping[str, Model | Sequence[Model]]
"""One model, several, or several by name."""


@dataclass(frozen=True)
class NamedModel:
    """One model, or one finished run directory.

    Attributes:
        name: what tables and directories call it, unique.
        group: what it is called together with the other training seeds of the same student; the name where it is
            alone.
        model: what `load_classifier` takes, or a directory.
    """

    name: str
    group: str
    model: Model

    @property
    def is_run(self) -> bool:
        """Whether it is a directory."""
        return not isinstance(self.model, nn.Module) and is_there(self.model, Path.is_dir)


def name_models(models: Models) -> list[NamedModel]:
    """Name models, in the order given.

    Args:
        models: one, several, or a mapping from names: names, paths, classifiers or finished run directories; a text
            may be "NAME=MODEL". Several of one NAME, or a list in a mapping, are training seeds of one student.

    Raises:
        XkdError: none, or two of one name.
    """
    grouped = _from_mapping(models) if isinstance(models, Mapping) else _from_sequence(_listed(models, "models"))
    if not grouped:
        raise XkdError("models: none given; expected at least one")
    found = [
        NamedModel(group if len(members) == 1 else f"{group} ({place})", group, model)
        for group, members in grouped.items()
        for place, model in enumerate(members, start=1)
    ]
    names = [named.name for named in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise XkdError(f"models: two are called {twice!r}; give one another NAME=MODEL")
    return found


def _from_mapping(models: Mapping[str, Model | Sequence[Model]]) -> dict[str, list[Model]]:
    for name, given in models.items():
        if not isinstance(name, str) or not name or name != _encodable(name):
            raise XkdError(f"models: one is called {short(name)}; expected a text")
        if isinstance(given, list | tuple) and not given:
            raise XkdError(f"models: none given for {short(name)}; expected at least one")
    return {name: _listed(given, f"models: {short(name)}") for name, given in models.items()}


def _listed(models: Any, where: str) -> list[Model]:
    """One or several as a list."""
    expected = "a name, a path, a module or several of them"
    return one_or_more(models, Model, where, expected, "expected names, paths and modules")


def _from_sequence(models: Sequence[Model]) -> dict[str, list[Model]]:
    pairs = [split_name(given) for given in models]
    chosen = {name for name, _ in pairs if name is not None}
    others = [model for name, model in pairs if name is None]
    short_names = names_apart(others, [_name_of(without_words(model)) for model in others])
    grouped: dict[str, list[Model]] = {}
    seen: Counter[str] = Counter()
    for name, model in pairs:
        if name is not None:
            grouped.setdefault(name, []).append(model)
            continue
        called = next(short_names)
        seen[called] += 1
        # Equal names without a NAME= may be unrelated models: they are told apart and not pooled.
        if seen[called] > 1 or called in chosen:
            called = f"{called} #{seen[called] + (called in chosen)}"
        grouped[called] = [model]
    return grouped


def names_apart(models: Sequence[Model], names: Sequence[str]) -> Iterator[str]:
    """Each model's name, with the options behind it where another model of that name has others.

    Args:
        models: as they were given.
        names: of each, without options.
    """
    options = [_options(model) for model in models]
    for name, own in zip(names, options, strict=True):
        others = {other for known, other in zip(names, options, strict=True) if known == name}
        yield f"{name},{own}" if own and len(others) > 1 else name


def _options(model: Model) -> str:
    """What stands behind a model's name, "" for nothing."""
    found = split_words(model).options.items() if isinstance(model, str) else ()
    return _encodable(",".join(f"{key}={text}" for key, text in found))


def _name_of(model: Model) -> str:
    if isinstance(model, Classifier):
        return _encodable(model.name)
    return type(model).__name__ if isinstance(model, nn.Module) else _encodable(_short(str(model)))


def _encodable(name: str) -> str:
    """A name that tables can hold: that of a file need not be UTF-8."""
    return name.encode(errors="backslashreplace").decode()


def split_name(given: Model) -> tuple[str | None, Model]:
    """ "kd=runs/kd/student.pt,size=64" in two; a file whose own name holds the sign is one."""
    if not isinstance(given, str) or is_there(without_words(given)):
        return None, given
    name, separator, model = given.partition("=")
    return (name, model) if separator and name and not {"/", ":", ","} & set(name) else (None, given)


def _short(model: str) -> str:
    """ "runs/kd/student.pt", "kd.pt" and "embedded/kd" -> "kd"; names of a library as they are, without slashes."""
    path = Path(model)
    if path.suffix in (".pt", ".pth", ".onnx", ".xml"):
        generic = path.stem in ("student", "best", "last") and path.parent.name
        return path.parent.name if generic else path.stem
    return path.name if is_there(path, Path.is_dir) else model.removeprefix("embedded/").replace("/", " ")
