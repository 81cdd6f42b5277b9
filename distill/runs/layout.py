"""Where trainings lie below a folder of runs, RUNS/RECIPE/ or RUNS/RECIPE/seed-N/, and what lies in each."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from distill.recipe.files import file_and_variant
from xkd_eval.errors import XkdError
from xkd_eval.foreign import is_writable_name, short

STUDENT = "student.pt"
"""The checkpoint that a finished training leaves in its directory."""

RECIPE, METRICS, STATE, BEST, RESULT = "recipe.yaml", "metrics.csv", "last.pt", "best.pt", "result.json"
"""The recipe as resolved; a line an epoch; all that a training continues from; the best epoch's checkpoint; scores."""

NEW_BEST = "best.new.pt"
"""A better epoch's checkpoint until the state says that it is: whenever a training is killed, the two agree."""


def directory_name(recipe: str) -> str:
    """The path of a recipe's trainings below the runs.

    "exp-kd/cifar100/resnet56-resnet20" as it is; "mine" of mine.yaml, "mine/wide" of folder/mine.yml:wide.

    Raises:
        XkdError: a name that leads elsewhere.
    """
    written = file_and_variant(recipe)
    if written is None:
        name = recipe
    else:
        path, variant = written
        stem = Path(path).name.rpartition(".")[0]
        name = stem if variant is None else f"{stem}/{variant}"
    if not all(map(is_writable_name, name.split("/"))):
        raise XkdError(f"recipe: {short(recipe)} is no name for a directory of runs; expected one as `mine.yaml`")
    return name


def check_apart(runs: Iterable[tuple[str, Path]]) -> None:
    """Refuse trainings of which two would lie in one directory.

    Args:
        runs: the recipe's name, as it was given, and the directory of each.

    Raises:
        XkdError: the first two.
    """
    names: dict[Path, str] = {}
    for name, directory in runs:
        other = names.setdefault(directory, name)
        if other != name:
            raise XkdError(
                f"recipe: {short(other)} and {short(name)} would both be trained in {str(directory)!r}; rename one, or "
                "leave it out"
            )


def seed_directory(directory: Path, seed: int) -> Path:
    """Where one of several trainings lies that differ in the seed alone."""
    return directory / f"seed-{seed}"


def students_in(directory: Path) -> list[Path]:
    """The checkpoints of a recipe's finished trainings: its own, then those of its seeds."""
    own = directory / STUDENT
    return [*([own] if own.is_file() else []), *sorted(directory.glob(f"seed-*/{STUDENT}"))]
