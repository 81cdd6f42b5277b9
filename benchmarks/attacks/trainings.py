"""What a training leaves: its directory, and the decoded images that it keeps for the next."""

from __future__ import annotations

import io
import json
import os
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

import distill
from attacks.group import BytesGroup, group, laid_out, tree
from attacks.mutants import Files
from attacks.outcome import Found
from attacks.recipes import RECIPE
from attacks.structures import as_text, mutated_documents, sealed
from attacks.values import ValuesGroup
from distill.data.cache import decoded
from distill.recipe.files import as_recipe
from distill.runs.directory import TrainingDirectory
from distill.runs.layout import RESULT, STATE, STUDENT
from distill.runs.state_file import state_digest
from distill.training.result import TrainingResult
from distill.training.setup import set_up
from distill.training.state import restore
from xkd_eval import XkdError
from xkd_eval.classifiers.checkpoint import read_checkpoint
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.datasets.embedded import EmbeddedDataset


@group
class DecodedImages(BytesGroup):
    """The decoded images that a training keeps in the user's cache: damaged ones are decoded again, or refused."""

    name, about = "decoded-images", "decoded images that are kept for the next training"
    strict = True

    def cases(self, folder: Path) -> dict[str, Files]:
        self._images = EmbeddedDataset("test", size=12)
        self.found("kept", folder)
        return {"kept": tree(folder)}

    def found(self, case: str, folder: Path) -> Found:
        before = os.environ.get("XDG_CACHE_HOME")
        os.environ["XDG_CACHE_HOME"] = str(folder)
        try:
            return Found({"pixels": np.array(decoded(self._images, Preprocess(size=(8, 8))))}, {"": None})
        finally:
            os.environ.pop("XDG_CACHE_HOME")
            if before is not None:
                os.environ["XDG_CACHE_HOME"] = before


class _Training:
    """A small training, finished and, without its result, not; and what is read of it."""

    def __init__(self) -> None:
        self.recipe = as_recipe(RECIPE)
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "training"
            distill.train(self.recipe, place, device="cpu")
            self.finished = tree(place)
            self._setup = set_up(self.recipe, "cpu", Path(folder))
        self.unfinished = {name: content for name, content in self.finished.items() if name not in (RESULT, STUDENT)}

    def found(self, case: str, folder: Path) -> Found:
        """Result, metrics and student, as a notebook reads them; or the state that a training continues from."""
        directory = TrainingDirectory(folder, self.recipe, resume=True, overwrite=False, write=False)
        if case == "finished":
            return self._finished(folder, directory.result)
        return self._continued(directory.state)

    def _finished(self, folder: Path, result: dict[str, Any] | None) -> Found:
        if result is None:
            raise XkdError(_TRAINED_AGAIN)
        training = TrainingResult(folder, self.recipe, result)
        repr(training), training._repr_html_()
        checkpoint = read_checkpoint(folder / STUDENT)
        student = {name: getattr(checkpoint, name) for name in checkpoint.__dataclass_fields__ if name != "preprocess"}
        values = {
            "result": {name: value for name, value in result.items() if name != "digest"},
            "metrics": training.metrics.to_dict("list"),
            "student": {**student, "preprocess": checkpoint.preprocess.to_dict()},
        }
        return Found(values, {"": values})

    def _continued(self, state: dict[str, Any] | None) -> Found:
        if state is None:
            raise XkdError(_TRAINED_AGAIN)
        position = restore(self._setup, state)
        values = {
            "position": (position.epoch, position.step, position.history, position.best, position.means.state()),
            "student": dict(self._setup.student.model.state_dict()),
            "optimiser": self._setup.optimiser.state_dict(),
        }
        return Found(values, {"": values})


@cache
def _training() -> _Training:
    return _Training()


# From the start or from its state, which gives the same on a CPU.
_TRAINED_AGAIN = "output: unfinished; trained again"


@group
class Trainings(BytesGroup):
    """The directory of a training."""

    name, about = "trainings", "training directories, finished and not: state, result, metrics, students, recipe"
    strict = True
    rarely = frozenset({"best.pt"})

    def cases(self, folder: Path) -> dict[str, Files]:
        self._training = _training()
        return {"finished": self._training.finished, "unfinished": self._training.unfinished}

    def found(self, case: str, folder: Path) -> Found:
        return self._training.found(case, folder)


@group
class TrainingValues(ValuesGroup):
    """result.json and last.pt, as they are and with a digest that fits."""

    name, about = (
        "training-values",
        "result.json and last.pt with values of other kinds, keys dropped, added and doubled",
    )

    def prepare(self, folder: Path) -> None:
        self._training = _training()
        state = torch.load(io.BytesIO(self._training.finished[STATE]), weights_only=True)
        self._tensors = {key: value for key, value in state.items() if key in _HEAVY}
        plain = {key: value for key, value in state.items() if key not in _HEAVY}
        result = json.loads(self._training.finished[RESULT])
        state = plain | dict.fromkeys(_HEAVY)
        self._documents = {
            **{"finished": result, "finished sealed": result},
            **{"unfinished": state, "unfinished sealed": state},
        }
        for case, document in self._documents.items():
            with laid_out(self.written(case, document), folder / "original") as place:
                self.originals[case] = self.found(case, None, place)

    def strategy(self) -> st.SearchStrategy[tuple[str, Any, str]]:
        return st.sampled_from(sorted(self._documents)).flatmap(
            lambda case: mutated_documents(self._documents[case], doubles=case == "finished").map(
                lambda found: (case, *found)
            )
        )

    def written(self, case: str, values: Any) -> Files:
        if case.startswith("finished"):
            text = as_text(sealed(values) if case.endswith("sealed") else values)
            return {**self._training.finished, RESULT: text.encode(errors="surrogatepass")}
        if isinstance(values, dict):  # None holds the place of what is heavy
            values = {key: self._tensors.get(key) if value is None else value for key, value in values.items()}
        buffer = io.BytesIO()
        if case.endswith("sealed") and isinstance(values, dict):
            values = {**values, "digest": state_digest(values)}
        torch.save(values, buffer)
        return {**self._training.unfinished, STATE: buffer.getvalue()}

    def is_strict(self, case: str, values: Any) -> bool:
        return not case.endswith("sealed")

    def found(self, case: str, values: Any, folder: Path) -> Found:
        return self._training.found(case.split()[0], folder)


_HEAVY = ("student", "methods", "optimiser", "average")
