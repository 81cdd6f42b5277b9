"""What a sweep's file says: stages of recipes x seeds, in the order in which their results are wanted."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from distill.recipe.fields import Seed, Strict
from distill.recipe.files import expand
from distill.recipe.imports import beside
from distill.recipe.schema import Recipe
from distill.recipe.yaml_text import read_yaml, yaml_text
from distill.runs.changes import RecipeChanges, check_seeds
from xkd_eval.errors import XkdError
from xkd_eval.foreign import is_writable_name, parsed, short
from xkd_eval.registry import nearest

MOST_RUNS = 10_000
"""A grid of more is a slip, and takes minutes to write down."""


def _different(seeds: list[int]) -> list[int]:
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"{short(seeds)} found; expected different seeds")
    return seeds


def _told_apart(values: list[Value]) -> list[Value]:
    labels = [label(value) for value in values]
    if twice := [text for text in labels if labels.count(text) > 1]:
        raise ValueError(f"{twice[0]} stands there {labels.count(twice[0])} times; expected different values")
    return values


Value = bool | int | float | str | list[Any] | dict[str, Any] | None
Grid = dict[str, Annotated[list[Value], Field(min_length=1), AfterValidator(_told_apart)]]
Seeds = Annotated[list[Seed], Field(min_length=1), AfterValidator(_different)]


def label(value: Value) -> str:
    """A value of the grid as it is written, one text for each: 0.5, true, null, kd, '1', [32, 32]."""
    return yaml_text(value).partition("\n")[0] if isinstance(value, str) else json.dumps(value, default=str)


class Stage(Strict):
    """Recipes that come before those of the next stage.

    Attributes:
        recipes: names; `{key}` stands for each value of `grid`'s key in turn.
        grid: values to put into the names, {method: [kd, dkd]}, and values of keys of the recipes,
            {losses.kd.weight: [0.5, 0.9], epochs: [60, 120]}: one run each combination. None takes the file's.
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
        data, test_split, val_split, select_on_test, teacher, teacher_weights, teacher_engine, precision, imports: of
            all runs; see RecipeChanges.
        set: "key=value" overrides of all runs, over these.
        variants: name to further overrides; each recipe that distils runs once a variant.

    Of what says different things about one key the last wins: the recipe, the keys of the file, its `set`, the grid, a
    variant, the command. A grid's key that a variant or the command changes is refused, as a run's directory says it.
    """

    recipes: list[str] = Field(default=[], min_length=1)
    stages: list[Stage] = Field(default=[], min_length=1)
    grid: Grid = Field(default={})
    seeds: Seeds = Field(default=[0])
    set: list[str] = Field(default=[])
    variants: dict[str, list[str]] = Field(default={})
    data: str | None = None
    teacher: str | None = None
    teacher_weights: str | None = None
    teacher_engine: str | None = None
    test_split: Annotated[float, Field(ge=0, lt=1)] | None = None
    val_split: Annotated[float, Field(ge=0, lt=1)] | None = None
    select_on_test: bool = False
    precision: Literal["fp32", "tf32", "bf16", "fp16"] | None = None
    imports: list[str] = Field(default=[])

    @model_validator(mode="after")
    def _one_kind(self) -> SweepFile:
        if bool(self.recipes) == bool(self.stages):
            raise ValueError("recipes and stages: give one of the two")
        for variant in self.variants:
            if not is_writable_name(variant):  # its runs lie in a directory of that name
                raise ValueError(f"variants: {short(variant)} found; expected a name without '/'")
        for place, texts in [("set", self.set), *((f"variants: {name}", its) for name, its in self.variants.items())]:
            check_seeds(texts, place)
        return self

    def changes(self) -> RecipeChanges:
        """What the file changes of all its recipes."""
        return RecipeChanges(
            data=self.data,
            teacher=self.teacher,
            teacher_weights=None if self.teacher_weights is None else Path(self.teacher_weights),
            teacher_engine=self.teacher_engine,
            test_split=self.test_split,
            val_split=self.val_split,
            select_on_test=self.select_on_test,
            precision=self.precision,
            imports=tuple(self.imports),
            overrides=tuple(self.set),
        )

    def entries(self) -> list[Entry]:
        """Each recipe with each of its seeds, in order.

        Raises:
            XkdError: a name that the grid does not fill, or an unknown one; a key of the grid that nothing reads.
        """
        stages = self.stages or [Stage(recipes=self.recipes)]
        slots = {key for stage in stages for pattern in stage.recipes for key in _slots(pattern)}
        found = []
        for stage in stages:
            grid = self.grid if stage.grid is None else stage.grid
            swept = {key: values for key, values in grid.items() if key not in slots}
            for seed in self.seeds if stage.seeds is None else stage.seeds:
                found += [Entry(name, seed, filled, swept) for name, filled in _names(stage.recipes, grid)]
        for grid in [self.grid, *(stage.grid or {} for stage in stages)]:
            _check_keys(grid, slots)
        return found


@dataclass(frozen=True)
class Entry:
    """A recipe of a sweep.

    Attributes:
        name: its own.
        seed: of the run.
        filled: what the grid has put into the name, by key.
        swept: values of keys of the recipe.
    """

    name: str
    seed: int
    filled: Mapping[str, Value]
    swept: Mapping[str, Sequence[Value]]


@dataclass(frozen=True)
class SweepChanges(RecipeChanges):
    """What a command changes of a sweep's file; where the two say different things, the command wins.

    Attributes:
        seeds: of all recipes, instead of the file's; empty for those.
    """

    seeds: Sequence[int] = ()

    def applied(self, sweep: SweepFile) -> SweepFile:
        """The file as if it said the seeds itself."""
        if not self.seeds:
            return sweep
        stages = [stage.model_copy(update={"seeds": None}) for stage in sweep.stages]
        return sweep.model_copy(update={"seeds": list(self.seeds), "stages": stages})


def read_sweep(path: Path) -> SweepFile:
    """Check a sweep's file; files among its `imports` are looked for beside it.

    Raises:
        XkdError: unreadable, unknown keys, values of the wrong kind.
    """
    values = read_yaml(path, "sweep")
    return parsed(
        SweepFile, beside(values, path.parent) if isinstance(values, dict) else values, f"sweep: {short(str(path))}"
    )


def _slots(pattern: str) -> list[str]:
    return re.findall(r"{(\w+)}", pattern)


def _check_keys(grid: Grid, slots: Collection[str]) -> None:
    for key in grid:
        if key == "seed":
            raise XkdError("sweep: grid holds seed; give `seeds`")
        if key not in slots and key.partition(".")[0] not in Recipe.model_fields:
            known = [*slots, *Recipe.model_fields]
            raise XkdError(
                f"sweep: grid holds {short(key)}, which no name of a recipe and no recipe has; {nearest(key, known)}"
            )


def _names(patterns: Sequence[str], grid: Grid) -> list[tuple[str, dict[str, Value]]]:
    """Each recipe's name, once, with what the grid has put into it."""
    names: dict[str, dict[str, Value]] = {}
    for pattern in patterns:
        slots = _slots(pattern)
        if unknown := [key for key in slots if key not in grid]:
            raise XkdError(f"sweep: the recipe {short(pattern)} names {unknown[0]!r}, which grid does not hold")
        keys = [key for key in grid if key in slots]
        if len(names) + math.prod(len(grid[key]) for key in keys) > MOST_RUNS:
            raise XkdError(f"sweep: grid fills {short(pattern)} in more than {MOST_RUNS:,} ways; leave some out")
        for values in itertools.product(*(grid[key] for key in keys)):
            filled = dict(zip(keys, values, strict=True))
            texts = {key: value if isinstance(value, str) else label(value) for key, value in filled.items()}
            names.setdefault(re.sub(r"{(\w+)}", lambda key: texts[key[1]], pattern), filled)  # noqa: B023 - called at once
    found: dict[str, dict[str, Value]] = {}
    for name, filled in names.items():
        for recipe in expand(name):
            found.setdefault(recipe, filled)
    return list(found.items())
