"""A training as a file: what a sweep, or one command for several devices, hands to the processes that train."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from distill.recipe.parse import parse_recipe
from distill.recipe.schema import Recipe
from xkd_eval.errors import XkdError
from xkd_eval.files import replacing

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
        resume, overwrite, capture: see `distill.train`.
    """

    name: str
    recipe: Recipe
    directory: Path
    runs: Path
    device: str = "auto"
    resume: bool = False
    overwrite: bool = False
    capture: bool = False

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
            "recipe": self.recipe.model_dump(mode="json", exclude_none=True),
        }


def write_jobs(jobs: Sequence[TrainingJob], path: Path) -> None:
    """A file of trainings, to be made one after the other; it appears whole or not at all.

    Raises:
        XkdError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(yaml.safe_dump([job.to_dict() for job in jobs], sort_keys=False).encode())
    except OSError as error:
        raise XkdError(f"output: {str(path)!r} cannot be written ({error.strerror or error})") from None


def read_jobs(path: Path) -> list[TrainingJob]:
    """The inverse of `write_jobs`.

    Raises:
        XkdError: no such file, or one of another kind.
    """
    try:
        content = yaml.safe_load(path.read_text())
        return [
            TrainingJob(
                **{key: value for key, value in values.items() if key not in ("recipe", "directory", "runs")},
                recipe=parse_recipe(values["recipe"], f"{path}: {values['name']}"),
                directory=Path(values["directory"]),
                runs=Path(values["runs"]),
            )
            for values in content
        ]
    except OSError as error:
        raise XkdError(f"job: {str(path)!r} cannot be read ({error.strerror or error})") from None
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, AttributeError):
        raise XkdError(f"job: {str(path)!r} holds no trainings; expected what `write_jobs` writes") from None
