"""What is compared: models or finished run directories, their labels, and which are seeds of one student."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.comparison.runs import CEILING, FLOORS
from xkd_eval.errors import XkdError

Model = str | Path | nn.Module


@dataclass(frozen=True)
class Entrant:
    """One model, or one finished run directory.

    Attributes:
        label: what tables and directories call it, unique.
        group: what it is called together with the other training seeds of the same student; the label where it is
            alone.
        model: what `load_classifier` takes, or a directory.
    """

    label: str
    group: str
    model: Model

    @property
    def is_run(self) -> bool:
        """Whether it is a directory."""
        return not isinstance(self.model, nn.Module) and Path(self.model).is_dir()


def entrants(models: Sequence[Model] | Mapping[str, Model | Sequence[Model]]) -> list[Entrant]:
    """Label what is compared, in the order given.

    Args:
        models: names, paths, classifiers or directories; a text may be "NAME=MODEL". Several of one NAME, or a list in
            a mapping, are training seeds of one student.

    Raises:
        XkdError: fewer than two, models and run directories mixed, a name that stands for something else already, or
            several seeds of the reference.
    """
    grouped = _from_mapping(models) if isinstance(models, Mapping) else _from_sequence(models)
    found = [
        Entrant(group if len(members) == 1 else f"{group} ({place})", group, model)
        for group, members in grouped.items()
        for place, model in enumerate(members, start=1)
    ]
    if len(found) < 2:
        raise XkdError(f"compare: {len(found)} model given; expected at least two, the teacher first")
    _check_names(found)
    runs = [entrant.label for entrant in found if entrant.is_run]
    if runs and len(runs) < len(found):
        raise XkdError(f"compare: {runs[0]} is a run directory and others are models; give one kind")
    return found


def _check_names(found: Sequence[Entrant]) -> None:
    labels = [entrant.label for entrant in found]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise XkdError(f"compare: two models are called {twice!r}; give one another NAME=MODEL")
    floors = () if found[0].is_run else (*FLOORS, CEILING)
    floor = next((entrant.group for entrant in found if entrant.group in floors), None)
    if floor is not None:
        raise XkdError(f"compare: a model is called {floor!r}, as a floor is; give it another NAME=MODEL")
    if found[0].label != found[0].group:
        raise XkdError(
            f"compare: {found[0].group} is the reference and has several seeds; expected one model as the reference"
        )


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
        label = _label(model)
        seen[label] += 1
        # Equal names without a NAME= may be unrelated models: they are told apart and not pooled.
        if seen[label] > 1 or label in chosen:
            label = f"{label} #{seen[label] + (label in chosen)}"
        grouped[label] = [model]
    return grouped


def _label(model: Model) -> str:
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
