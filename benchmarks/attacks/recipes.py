"""What a training is told: recipes, sweeps, jobs and overrides."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from attacks.group import BytesGroup, group, laid_out
from attacks.mutants import Files
from attacks.outcome import Found
from attacks.structures import Pairs, as_text, mutated_documents
from attacks.values import ValuesGroup
from distill.recipe.files import as_recipe, load_recipe, recipe_text
from distill.runs.job import TrainingJob, read_jobs, write_jobs
from distill.runs.sweep_file import read_sweep

RECIPE: dict[str, Any] = {
    "data": {"loader": "device", "path": "embedded", "images": 32, "padding": 1},
    "student": {"architecture": "resnet8", "arguments": {"widths": [2, 2, 3, 4]}, "preprocess": {"size": [16, 16]}},
    "losses": [{"method": "ce"}, {"method": "kd", "weight": 0.5, "temperature": 4.0}],
    "teacher": {"model": "embedded"},
    "epochs": 2,
    "batch_size": 16,
    "optimiser": {"name": "sgd", "learning_rate": 0.3},
    "schedule": {"name": "multistep", "milestones": [0.5, 0.75]},
    "seed": 3,
}
_FILE = {
    "description": "small",
    "recipe": RECIPE,
    "variants": {"short": {"epochs": 1}, "wide": {"student.arguments.widths": [4, 4, 6, 8]}},
}
_SWEEP = {
    "stages": [{"recipes": ["quickstart/{method}"], "grid": {"method": ["kd", "plain"]}, "seeds": [0, 1]}],
    "set": ["epochs=2"],
    "variants": {"hot": ["losses.kd.temperature=8"]},
    "data": "embedded",
    "val_split": 0.25,
}
_BOMBS = (
    "a: &a [x, x, x, x, x, x, x, x, x]\n"
    + "".join(f"{n}: &{n} [{', '.join([f'*{p}'] * 9)}]\n" for p, n in zip("abcdefgh", "bcdefghi", strict=True))
    + "recipe: {epochs: *i}\n",
    "recipe: &r {epochs: *r}\n",
    "extends: recipe.yaml\n",
    "extends: [recipe.yaml]\n",
    "[" * 5000,
    "recipe: {? [a, b] : 1, ? {a: 1} : 2}\n",
    "recipe: !!python/object/apply:os.getpid []\n",
    "recipe: 2024-13-45\n",
    "recipe: {epochs: 1_000, batch_size: 0o17, seed: 1e400}\n",
    "<<: {recipe: 1}\n",
)


def _recipe_found(folder: Path) -> Found:
    """What a recipe file resolves to; it reads back as it is written down in a run's directory."""
    recipe = load_recipe(str(folder / "recipe.yaml:short"))
    text = recipe_text(recipe)
    again = as_recipe(yaml.safe_load(text)["recipe"])
    if recipe_text(again) != text:
        raise AssertionError("a recipe that is read back as another")
    return Found({"recipe": recipe.model_dump(mode="json")}, {"": text})


def _sweep_found(folder: Path) -> Found:
    sweep = read_sweep(folder / "sweep.yaml")
    runs = [(entry.name, entry.seed, entry.swept) for entry in sweep.entries()]
    values = {"runs": runs, "sweep": sweep.model_dump(mode="json")}
    return Found(values, {"": values})


def _jobs_found(folder: Path) -> Found:
    jobs = [job.to_dict() for job in read_jobs(folder / "job.yaml")]
    return Found({"jobs": jobs}, {"": jobs})


def _overridden(folder: Path) -> Found:
    """A recipe with the changes of a command line."""
    text = (folder / "overrides.yaml").read_text(encoding="utf-8", errors="surrogateescape")
    values = as_recipe(RECIPE, text.split("\n")).model_dump(mode="json")
    return Found({"recipe": values}, {"": values})


_READERS = {"recipe": _recipe_found, "sweep": _sweep_found, "job": _jobs_found, "overrides": _overridden}
_OVERRIDES = "epochs=3\nlosses.kd.weight=2000\nschedule={name: cosine}\nstudent.preprocess.size=[8, 8]"


def _job_document() -> list[Any]:
    recipe = as_recipe(RECIPE)
    return [TrainingJob("small", recipe, Path("runs/small"), Path("runs")).to_dict()]


@group
class RecipeTexts(BytesGroup):
    """YAML as users and sweeps write it, and what a command changes: bytes, and texts that are meant to hurt."""

    name, about = "recipe-texts", "recipes, sweeps, jobs and overrides in YAML; alias bombs, loops, tags"

    def cases(self, folder: Path) -> dict[str, Files]:
        write_jobs([TrainingJob("small", as_recipe(RECIPE), Path("runs/small"), Path("runs"))], folder / "job.yaml")
        return {
            "recipe": {"recipe.yaml": yaml.safe_dump(_FILE, sort_keys=False).encode()},
            "sweep": {"sweep.yaml": yaml.safe_dump(_SWEEP, sort_keys=False).encode()},
            "job": {"job.yaml": (folder / "job.yaml").read_bytes()},
            "overrides": {"overrides.yaml": _OVERRIDES.encode()},
        }

    def finished(self, case: str, files: Files, how: str, draw: random.Random) -> tuple[Files, str]:
        if draw.random() < 0.98:
            return files, how
        text = draw.choice(_BOMBS)
        return {f"{case}.yaml": text.encode()}, f"instead of it {text[:60]!r}"

    def found(self, case: str, folder: Path) -> Found:
        return _READERS[case](folder)


@group
class RecipeValues(ValuesGroup):
    """The same documents with values of other kinds; a key that stands twice is never read."""

    name, about = (
        "recipe-values",
        "recipes, sweeps and jobs with values of other kinds, keys dropped, added and doubled",
    )

    def prepare(self, folder: Path) -> None:
        self._documents: dict[str, Any] = {"recipe": _FILE, "sweep": _SWEEP, "job": _job_document()}
        for case in self._documents:
            with laid_out(self.written(case, self._documents[case]), folder / case) as place:
                self.originals[case] = self.found(case, None, place)

    def strategy(self) -> st.SearchStrategy[tuple[str, Any, str]]:
        return st.sampled_from(sorted(self._documents)).flatmap(
            lambda case: mutated_documents(self._documents[case]).map(lambda found: (case, *found))
        )

    def written(self, case: str, values: Any) -> Files:
        return {f"{case}.yaml": as_text(values, yaml=True).encode(errors="surrogatepass")}

    def is_strict(self, case: str, values: Any) -> bool:
        return _has_pairs(values)

    def found(self, case: str, values: Any, folder: Path) -> Found:
        return _READERS[case](folder)


def _has_pairs(values: Any) -> bool:
    if isinstance(values, Pairs):
        return len({repr(key) for key, _ in values}) < len(values) or any(_has_pairs(value) for _, value in values)
    inner = values.values() if isinstance(values, dict) else values if isinstance(values, list) else ()
    return any(map(_has_pairs, inner))
