"""What a sweep's file says: stages of recipes x seeds, in the order in which their results are wanted."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from distill.recipe.files import expand
from xkd_eval.errors import XkdError
from xkd_eval.registry import nearest


class Stage(BaseModel):
    """Recipes that come before those of the next stage.

    Attributes:
        recipes: names; `{key}` stands for each value of `grid`'s key in turn.
        grid: values to put into the names: {method: [kd, exp-kd], pair: [resnet56-resnet20]}; None takes the file's.
        seeds: one run of each recipe by the first seed, then one of each by the second; None takes the file's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipes: list[str] = Field(min_length=1)
    grid: dict[str, list[str]] | None = None
    seeds: list[int] | None = None


class SweepFile(BaseModel):
    """What sweep.yaml holds.

    Attributes:
        recipes: of a sweep of one stage.
        stages: of one of several.
        grid, seeds: see Stage.
        set: "key=value" overrides of all runs.
        variants: name to further overrides; each recipe that distils runs once a variant.
        data: of all runs.
        val_split: held-out fraction of all runs.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipes: list[str] = Field(default=[], min_length=1)
    stages: list[Stage] = Field(default=[], min_length=1)
    grid: dict[str, list[str]] = {}
    seeds: list[int] = [0]
    set: list[str] = []
    variants: dict[str, list[str]] = {}
    data: str | None = None
    val_split: float | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> SweepFile:
        if bool(self.recipes) == bool(self.stages):
            raise ValueError("recipes and stages: give one of the two")
        return self

    def names_and_seeds(self) -> list[tuple[str, int]]:
        """Each recipe's name with each of its seeds, in order, once.

        Raises:
            XkdError: a name that the grid does not fill, or an unknown one.
        """
        stages = self.stages or [Stage(recipes=self.recipes)]
        pairs = [
            (name, seed)
            for stage in stages
            for seed in (self.seeds if stage.seeds is None else stage.seeds)
            for name in _names(stage.recipes, self.grid if stage.grid is None else stage.grid)
        ]
        return list(dict.fromkeys(pairs))


@dataclass(frozen=True)
class SweepChanges:
    """What a command changes of a sweep's file.

    Attributes:
        data: of all runs, instead of the file's.
        seeds: of all recipes, instead of the file's; empty for those.
        overrides: "key=value" texts of all runs, after the file's.
    """

    data: str | None = None
    seeds: Sequence[int] = ()
    overrides: Sequence[str] = ()

    def applied(self, sweep: SweepFile) -> SweepFile:
        """The file as if it said so itself."""
        changes: dict[str, Any] = {}
        if self.data is not None:
            changes["data"] = self.data
        if self.seeds:
            changes["seeds"] = list(self.seeds)
            changes["stages"] = [stage.model_copy(update={"seeds": None}) for stage in sweep.stages]
        return sweep.model_copy(update=changes)


def read_sweep(path: Path) -> SweepFile:
    """Check a sweep's file.

    Raises:
        XkdError: unreadable, unknown keys, values of the wrong kind.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise XkdError(f"sweep: {str(path)!r} cannot be read: {error.strerror or error}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise XkdError(f"sweep: {str(path)!r} is no YAML: {' '.join(str(error).split())}") from None
    known = list(SweepFile.model_fields)
    if not isinstance(content, dict):
        raise XkdError(f"sweep: {str(path)!r} holds no mapping; expected the keys {', '.join(known)}")
    for key in content:
        if key not in known:
            raise XkdError(f"sweep: nothing reads the key {key!r} of {path}; {nearest(str(key), known)}")
    try:
        return SweepFile.model_validate(content)
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(str(part) for part in fault["loc"])
        message = fault["msg"].removeprefix("Value error, ")
        raise XkdError(f"sweep: {place or 'a key'} of {path}: {message[0].lower()}{message[1:]}") from None


def _names(patterns: Sequence[str], grid: dict[str, list[str]]) -> list[str]:
    names = []
    for pattern in patterns:
        for values in itertools.product(*grid.values()):
            try:
                names.append(pattern.format(**dict(zip(grid, values, strict=True))))
            except (KeyError, IndexError, ValueError) as error:
                raise XkdError(f"sweep: the recipe {pattern!r} names {error}, which grid does not hold") from None
    return [recipe for name in dict.fromkeys(names) for recipe in expand(name)]
