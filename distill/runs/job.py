"""A training as a file: what a sweep, or one command for several devices, hands to the processes that train."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.recipe.fields import Strict
from distill.recipe.schema import Recipe
from distill.recipe.yaml_text import read_yaml, yaml_text
from xkd_eval.errors import XkdError
from xkd_eval.files import replacing, writing
from xkd_eval.foreign import parsed, short

RUNNER = "distill.cli.job"
"""The module that trains what such a file holds: python -m distill.cli.job FILE."""

JOB, LOG = "job.yaml", "log.txt"
"""The file in a run's directory, and what the process that took it printed."""


@dataclass(frozen=True)
class TrainingJob:
    """One training, with all that `distill.train` is told.

    Attributes:
        name: what tables and bars call it: the recipe's name, and a sweep's variant.
        recipe: as resolved.
        directory: of the run.
        runs: where the teachers of other recipes lie.
        device: "auto" or "cpu".
        resume, overwrite, capture, force: see `distill.train`.
    """

    name: str
    recipe: Recipe
    directory: Path
    runs: Path
    device: str = "auto"
    resume: bool = False
    overwrite: bool = False
    capture: bool = False
    force: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The attributes as plain values, as YAML holds them."""
        return {
            "name": self.name,
            "directory": str(self.directory),
            "runs": str(self.runs),
            "device": self.device,
            "resume": self.resume,
            "overwrite": self.overwrite,
            "capture": self.capture,
            "force": self.force,
            "recipe": self.recipe.model_dump(mode="json", exclude_none=True),
        }


class _Written(Strict):
    """A training as its file has it; see TrainingJob."""

    name: str
    directory: str
    runs: str
    device: str
    resume: bool
    overwrite: bool
    capture: bool
    force: bool
    recipe: Recipe

    def job(self) -> TrainingJob:
        places = {"directory": Path(self.directory), "runs": Path(self.runs)}
        return TrainingJob(**{name: getattr(self, name) for name in type(self).model_fields} | places)


def write_jobs(jobs: Sequence[TrainingJob], path: Path) -> None:
    """A file of trainings, to be made one after the other; it appears whole or not at all.

    Raises:
        XkdError: it cannot be written.
    """
    with writing(f"output {path}:"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(yaml_text([job.to_dict() for job in jobs]).encode())


def read_jobs(path: Path) -> list[TrainingJob]:
    """The inverse of `write_jobs`.

    Raises:
        XkdError: no such file, or one of another kind.
    """
    where = f"job: {short(str(path))}"
    content = read_yaml(path, "job")
    if not isinstance(content, list):
        raise XkdError(f"{where} holds no trainings; expected what `write_jobs` writes")
    return [parsed(_Written, values, f"{where}: number {number}").job() for number, values in enumerate(content, 1)]
