"""Which trainings a sweep stands for, where each lies and where its teacher does; those of teachers first."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from distill.recipe.files import load_recipe
from distill.recipe.merging import entry_of
from distill.recipe.schema import Recipe
from distill.recipe.yaml_text import override
from distill.runs.changes import RecipeChanges, changed_recipe, check_seeds, distils
from distill.runs.layout import check_apart, directory_name, seed_directory, students_in
from distill.runs.origin import Origin, check_origin, check_recipe, goes_on
from distill.runs.origins import Origins
from distill.runs.outcome_file import read_result
from distill.runs.sweep_file import MOST_RUNS, Entry, SweepChanges, SweepFile, Value, label
from xkd_eval.errors import XkdError
from xkd_eval.escapes import file_name, file_names
from xkd_eval.foreign import is_writable_name, short
from xkd_eval.registry import nearest


@dataclass(frozen=True)
class SweepRun:
    """One training of a sweep.

    Attributes:
        name: recipe, what the grid sets of it, and variant.
        recipe: as resolved.
        directory: of the run.
        teachers: the names of the runs of its teachers that are recipes.
        runs: where these lie.
        settings: what the grid has put into the recipe's name and its keys, by key.
    """

    name: str
    recipe: Recipe
    directory: Path
    teachers: tuple[str, ...]
    runs: Path
    settings: Mapping[str, Value]

    def is_finished(self, origins: Origins) -> bool:
        """Whether what `train` would give is there already.

        Args:
            origins: of this call.

        Raises:
            XkdError: what is there is of another recipe, other images or another teacher, or was damaged; or data or
                teacher cannot be opened.
        """
        result = read_result(self.directory)
        if result is None:
            return False
        theirs = Origin.model_validate(result["origin"])
        if goes_on(self.recipe, theirs):
            return False
        check_recipe(self.recipe, theirs, self.directory)
        check_origin(origins.of(self.recipe, self.runs), theirs, self.directory)
        return True


def plan_sweep(
    sweep: SweepFile, directory: Path, changes: SweepChanges | None = None, runs: Path | None = None
) -> list[SweepRun]:
    """All runs in the file's order, a teacher's right before the first that need it.

    A recipe that is the teacher of another one of the sweep is trained as it is: grid and variants are of its students.

    Args:
        sweep: the file.
        directory: of the sweep; runs lie below it.
        changes: of the file.
        runs: where the teachers lie that are neither in the sweep nor below `directory`.

    Raises:
        XkdError: a name or an override that makes no recipe; two recipes whose runs would lie in one directory; a
            teacher that is nowhere; a key of the grid that no recipe has, or that something after the grid changes.
    """
    changes = changes or SweepChanges()
    check_seeds(changes.overrides, "overrides")
    planner = _Planner(changes.applied(sweep), directory, changes)
    planned = [(entry, planner.runs_of(entry)) for entry in planner.sweep.entries()]
    taught = {teacher for _, its in planned for run in its for teacher in run.teachers}
    named = [
        (entry.name, run)
        for entry, its in planned
        for run in (its if directory_name(entry.name) not in taught else [planner.plain(entry)])
    ]
    planner.check_grid_is_read()
    check_apart((name, run.directory) for name, run in named)
    ordered = _teachers_first([run for _, run in named])
    made = {run.name for run in ordered}
    return [_taught(run, made, directory, runs) for run in ordered]


class _Planner:
    """The runs of a sweep's recipes, each with what is changed of it."""

    def __init__(self, sweep: SweepFile, directory: Path, changes: SweepChanges) -> None:
        self.sweep = sweep
        self._directory = directory
        self._common, self._command = sweep.changes(), changes
        self._modules = RecipeChanges(imports=changes.imports)
        self._recipes: dict[tuple[str, tuple[str, ...], str], Recipe] = {}
        self._read: set[str] = set()
        self._unread: dict[str, set[str]] = {}

    def runs_of(self, entry: Entry) -> list[SweepRun]:
        """One for each combination of the grid's values and each variant."""
        recipe = changed_recipe(entry.name, self._common, self._modules)
        swept = {key: values for key, values in entry.swept.items() if self._reads(recipe, key)}
        variants = list(self.sweep.variants) if self.sweep.variants and self._is_student(entry.name) else [""]
        if math.prod(map(len, swept.values())) * len(variants) > MOST_RUNS:
            raise XkdError(f"sweep: grid stands for more than {MOST_RUNS:,} runs of {entry.name}; leave some out")
        names = {key: file_names(map(label, values)) for key, values in swept.items()}
        return [
            self._run(entry, dict(zip(swept, values, strict=True)), names, variant)
            for values in itertools.product(*swept.values())
            for variant in variants
        ]

    def plain(self, entry: Entry) -> SweepRun:
        """The one of a recipe that others learn from."""
        return self._run(entry, {}, {}, "")

    def check_grid_is_read(self) -> None:
        """Raise XkdError for a loss that the grid holds and no recipe has."""
        for key, known in self._unread.items():
            if key not in self._read:
                near = nearest(key.removeprefix("losses.").partition(".")[0], sorted(known))
                raise XkdError(f"sweep: grid holds {short(key)}, and no recipe has that loss; {near}")

    def _reads(self, recipe: Recipe, key: str) -> bool:
        """Whether a recipe has what a key names: of losses, which differ between methods, it need not."""
        losses = [loss.model_dump(mode="json") for loss in recipe.losses]
        if key.startswith("losses.") and entry_of(losses, key.removeprefix("losses.")) is None:
            self._unread.setdefault(key, set()).update(loss.label for loss in recipe.losses)
            return False
        self._read.add(key)
        return True

    def _is_student(self, name: str) -> bool:
        recipe = load_recipe(name)
        is_taught = self._common.teacher is not None or self._command.teacher is not None
        return bool(recipe.named_teachers) or (is_taught and distils(recipe))

    def _recipe(self, name: str, swept: Mapping[str, Value], variant: str) -> Recipe:
        """A recipe with all that is changed of it but the seed, which nothing else may change."""
        texts = tuple(override(key, value, "sweep: grid") for key, value in swept.items())
        key = (name, texts, variant)
        if key not in self._recipes:
            chosen = RecipeChanges(overrides=tuple(self.sweep.variants.get(variant, ())))
            sources = [self._common, RecipeChanges(overrides=texts), chosen, self._command]
            recipe = self._recipes[key] = changed_recipe(name, *sources)
            if texts and changed_recipe(name, *sources, RecipeChanges(overrides=texts)) != recipe:
                keys = ", ".join(map(short, swept))
                raise XkdError(f"sweep: grid holds {keys}, and a variant or the command sets the same; leave one out")
        return self._recipes[key]

    def _run(
        self, entry: Entry, swept: Mapping[str, Value], names: Mapping[str, Mapping[str, str]], variant: str
    ) -> SweepRun:
        recipe = self._recipe(entry.name, swept, variant).model_copy(update={"seed": entry.seed})
        said = _component([(key, names[key][label(value)]) for key, value in swept.items()])
        name = "/".join(filter(None, (directory_name(entry.name), said, variant)))
        named = [teacher.recipe for teacher in recipe.named_teachers.values() if teacher.recipe is not None]
        return SweepRun(
            name=name,
            recipe=recipe,
            directory=seed_directory(self._directory / name, entry.seed),
            teachers=tuple(map(directory_name, named)),
            runs=self._directory,
            settings={**entry.filled, **swept},
        )


def _component(settings: Sequence[tuple[str, str]]) -> str:
    """The name of the directory of runs with these values: "epochs=60,losses.kd.weight=0.5"; "" without any."""
    text = ",".join(f"{file_name(key)}={value}" for key, value in settings)
    if is_writable_name(text) or not text:
        return text
    return f"{text.encode()[:150].decode(errors='ignore')}~{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _taught(run: SweepRun, made: Collection[str], directory: Path, runs: Path | None) -> SweepRun:
    """A run with the folder in which all of its teachers lie, or will."""
    places = list(dict.fromkeys([directory] if runs is None else [directory, runs]))
    for place in places:
        missing = [name for name in run.teachers if not students_in(place / name)]
        if all(place == directory and name in made for name in missing):
            return replace(run, runs=place)
    raise XkdError(
        f"sweep: {run.name} needs the teacher of {missing[0]!r}, which is neither among its recipes nor in "
        f"{' or '.join(map(str, places))}; add the recipe, or give `teacher`, or `runs`, where teachers lie"
    )


def _teachers_first(runs: Sequence[SweepRun]) -> list[SweepRun]:
    """In order, but for the runs of a teacher that come later than a student's; teachers may have teachers."""
    ordered: dict[Path, SweepRun] = {}

    def add(run: SweepRun, students: tuple[str, ...]) -> None:
        for other in runs:
            if other.name in run.teachers and other.name in students:
                raise XkdError(f"sweep: {other.name} would learn from itself; set the teacher of its students alone")
            if other.name in run.teachers:
                add(other, (*students, other.name))
        ordered.setdefault(run.directory, run)

    for run in runs:
        add(run, (run.name,))
    return list(ordered.values())
