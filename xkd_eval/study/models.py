"""What is evaluated side by side: models, their names, and which of them are training seeds of one student."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.errors import XkdError

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
        return not isinstance(self.model, nn.Module) and Path(self.model).is_dir()


def name_models(models: Models) -> list[NamedModel]:
    """Name models, in the order given.

    Args:
        models: one, several, or a mapping from names: names, paths, classifiers or finished run directories; a text
            may be "NAME=MODEL". Several of one NAME, or a list in a mapping, are training seeds of one student.

    Raises:
        XkdError: none, or two of one name.
    """
    if isinstance(models, Model):
        models = [models]
    if not models:
        raise XkdError("models: none given; expected at least one")
    if isinstance(models, Mapping) and (empty := [name for name, given in models.items() if given in ([], ())]):
        raise XkdError(f"models: none given for {empty[0]!r}; expected at least one")
    grouped = _from_mapping(models) if isinstance(models, Mapping) else _from_sequence(models)
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
    return {name: [given] if isinstance(given, Model) else list(given) for name, given in models.items()}


def _from_sequence(models: Sequence[Model]) -> dict[str, list[Model]]:
    pairs = [_named(given) for given in models]
    chosen = {name for name, _ in pairs if name is not None}
    grouped: dict[str, list[Model]] = {}
    seen: Counter[str] = Counter()
    for name, model in pairs:
        if name is not None:
            grouped.setdefault(name, []).append(model)
            continue
        called = _name_of(model)
        seen[called] += 1
        # Equal names without a NAME= may be unrelated models: they are told apart and not pooled.
        if seen[called] > 1 or called in chosen:
            called = f"{called} #{seen[called] + (called in chosen)}"
        grouped[called] = [model]
    return grouped


def _name_of(model: Model) -> str:
    if isinstance(model, Classifier):
        return model.name
    return type(model).__name__ if isinstance(model, nn.Module) else _short(str(model))


def _named(given: Model) -> tuple[str | None, Model]:
    """ "kd=runs/kd/student.pt" in two; a file whose own name holds the sign is one."""
    if not isinstance(given, str) or Path(given).exists():
        return None, given
    name, separator, model = given.partition("=")
    return (name, model) if separator and name and not {"/", ":"} & set(name) else (None, given)


def _short(model: str) -> str:
    """ "runs/kd/student.pt", "kd.pt" and "embedded/kd" -> "kd"; names of a library as they are, without slashes."""
    path = Path(model)
    if path.suffix in (".pt", ".pth"):
        generic = path.stem in ("student", "best", "last") and path.parent.name
        return path.parent.name if generic else path.stem
    return path.name if path.is_dir() else model.removeprefix("embedded/").replace("/", " ")
