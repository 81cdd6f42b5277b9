"""What a sweep's file says: stages of recipes x seeds, in the order in which their results are wanted."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from distill.recipe.fields import Seed, Strict
from distill.recipe.files import expand
from distill.recipe.yaml_text import read_yaml
from xkd_eval.errors import XkdError
from xkd_eval.foreign import is_writable_name, parsed, short

_MOST_NAMES = 10_000


def _different(seeds: list[int]) -> list[int]:
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"{short(seeds)} found; expected different seeds")
    return seeds


Grid = dict[str, Annotated[list[str], Field(min_length=1)]]
Seeds = Annotated[list[Seed], Field(min_length=1), AfterValidator(_different)]


class Stage(Strict):
    """Recipes that come before those of the next stage.

    Attributes:
        recipes: names; `{key}` stands for each value of `grid`'s key in turn.
        grid: values to put into the names: {method: [kd, exp-kd], pair: [resnet56-resnet20]}; None takes the file's.
        seeds: one run of each recipe by the first seed, then one of each by the second; None takes the file's.
    """

    recipes: list[str] = Field(min_length=1)
    grid: Grid | None = None
    seeds: Seeds | None = None


class SweepFile(Strict):
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

    recipes: list[str] = Field(default=[], min_length=1)
    stages: list[Stage] = Field(default=[], min_length=1)
    grid: Grid = Field(default={})
    seeds: Seeds = Field(default=[0])
    set: list[str] = Field(default=[])
    variants: dict[str, list[str]] = Field(default={})
    data: str | None = None
    val_split: Annotated[float, Field(ge=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> SweepFile:
        if bool(self.recipes) == bool(self.stages):
            raise ValueError("recipes and stages: give one of the two")
        for variant in self.variants:
            if not is_writable_name(variant):  # its runs lie in a directory of that name
                raise ValueError(f"variants: {short(variant)} found; expected a name without '/'")
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
    return parsed(SweepFile, read_yaml(path, "sweep"), f"sweep: {short(str(path))}")


def _names(patterns: Sequence[str], grid: dict[str, list[str]]) -> list[str]:
    names: list[str] = []
    for pattern in patterns:
        named = re.findall(r"{(\w+)}", pattern)
        if unknown := [key for key in named if key not in grid]:
            raise XkdError(f"sweep: the recipe {short(pattern)} names {unknown[0]!r}, which grid does not hold")
        keys = [key for key in grid if key in named]
        if len(names) + math.prod(len(grid[key]) for key in keys) > _MOST_NAMES:
            raise XkdError(f"sweep: grid fills {short(pattern)} in more than {_MOST_NAMES:,} ways; leave some out")
        for values in itertools.product(*(grid[key] for key in keys)):
            filled = dict(zip(keys, values, strict=True))
            names.append(re.sub(r"{(\w+)}", lambda key: filled[key[1]], pattern))  # noqa: B023 - called at once
    return [recipe for name in dict.fromkeys(names) for recipe in expand(name)]
