"""What an evaluation leaves: run directories, read and continued, and stored maps."""

from __future__ import annotations

import io
import json
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from attacks.group import BytesGroup, group, laid_out, tree
from attacks.mutants import Files
from attacks.outcome import Found
from attacks.structures import as_text, mutated_documents, sealed
from attacks.values import ValuesGroup
from attacks.weights import INPUT, small_network
from xkd_eval import load_classifier, perturbation_test
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.datasets import ImageDataset
from xkd_eval.datasets.embedded import EmbeddedDataset
from xkd_eval.explainers.base import Context
from xkd_eval.explainers.stored import StoredMaps, save_maps
from xkd_eval.study.result import EvaluationResult

_IMAGES = 6
_IDS = ["cat/a.jpg", "cat/b.jpg"]


class _Stopped(Exception):  # noqa: N818 - no error
    pass


class _Run:
    """A small finished run in several parts, and the call that continues it."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.classifier: Classifier = load_classifier("embedded/kd", size=(16, 16))
        self.images: ImageDataset = EmbeddedDataset("test", size=_IMAGES)
        with tempfile.TemporaryDirectory() as folder:
            self.files = self._made(Path(folder) / "run")

    def _made(self, folder: Path) -> Files:
        """A run that was stopped once, so that its rows lie in two parts."""

        def stop(what: str, done: int, total: int) -> None:
            if done >= _IMAGES // 2:
                raise _Stopped

        for progress in (stop, None):
            try:
                self.evaluated(folder, progress)
            except _Stopped:
                continue
        found = tree(folder)
        assert sum(name.endswith(".parquet") for name in found) == 2, sorted(found)
        return found

    def evaluated(self, folder: Path, progress: Any = None) -> EvaluationResult:
        return perturbation_test(
            self.classifier,
            self.images,
            output=folder,
            figures=False,
            fractions=(0.3, 0.6),
            batch_size=_IMAGES // 2,
            device="cpu",
            workers=0,
            progress=progress,
        )


@cache
def _small_run() -> _Run:
    return _Run()


def _found(result: EvaluationResult) -> Found:
    """Rows and scores; how fast they were made is no score."""
    summary = {key: value for key, value in result.summary.items() if key != "images_per_second"}
    rows = {f"column {name}": result.rows[name].to_pylist() for name in result.rows.column_names}
    described = json.loads(json.dumps(result.description))
    values = {"summary": summary, "description": described, **rows}
    return Found(values, {"": (described, summary)})


@group
class Runs(BytesGroup):
    """A finished run, read by `compare` and continued by the same command."""

    name, about = "runs", "run directories, read and continued: protocol.json, summary.json, rows of two parts"
    strict = True

    def cases(self, folder: Path) -> dict[str, Files]:
        self._run = _small_run()
        return {"read": self._run.files, "continued": self._run.files}

    def found(self, case: str, folder: Path) -> Found:
        return _found(EvaluationResult.read(folder) if case == "read" else self._run.evaluated(folder))


@group
class RunValues(ValuesGroup):
    """Its documents with values of other kinds, as they are and with a digest that fits."""

    name, about = (
        "run-values",
        "protocol.json and summary.json with values of other kinds, keys dropped, added and doubled",
    )

    def prepare(self, folder: Path) -> None:
        self._run = _small_run()
        self._files = self._run.files
        names = ("protocol.json", "summary.json")
        self._documents = {name: json.loads(self._files[name]) for name in names}
        for case, name in self._cases():
            with laid_out(self._files, folder / "original") as place:
                self.originals[f"{case} {name}"] = self.found(case, None, place)

    def strategy(self) -> st.SearchStrategy[tuple[str, Any, str]]:
        return st.sampled_from(self._cases()).flatmap(
            lambda case: mutated_documents(self._documents[case[1]]).map(lambda found: (" ".join(case), *found))
        )

    def written(self, case: str, values: Any) -> Files:
        text = as_text(sealed(values) if "sealed" in case else values)
        return {**self._files, case.split()[-1]: text.encode(errors="surrogatepass")}

    def is_strict(self, case: str, values: Any) -> bool:
        return "sealed" not in case

    def _cases(self) -> list[tuple[str, str]]:
        ways = ("read", "continued", "read sealed", "continued sealed")
        return [(way, name) for way in ways for name in self._documents]

    def found(self, case: str, values: Any, folder: Path) -> Found:
        found = EvaluationResult.read(folder) if case.startswith("read") else self._run.evaluated(folder)
        return _found(found)


@group
class Maps(BytesGroup):
    """Maps as an explainer reads them: those that `save_maps` wrote, and other people's."""

    name, about = "stored-maps", "maps as `save_maps` writes them, and as np.save, np.savez and np.savez_compressed do"
    strict = frozenset({"ours"})

    def cases(self, folder: Path) -> dict[str, Files]:
        torch.manual_seed(0)
        maps = torch.rand(2, 5, 7)
        save_maps(folder / "maps", _IDS, maps)
        ours = {f"maps/{name}": content for name, content in tree(folder / "maps").items()}
        shutil.rmtree(folder / "maps")
        writers = {"npy": np.save, "npz": np.savez, "npz-compressed": np.savez_compressed}
        theirs = {
            case: {f"maps/{name}.{case[:3]}": _array(write, values) for name, values in zip(_IDS, maps, strict=True)}
            for case, write in writers.items()
        }
        return {"ours": ours, **theirs}

    def found(self, case: str, folder: Path) -> Found:
        explainer = StoredMaps(directory=folder / "maps")
        classifier = Classifier(small_network(), INPUT, name="network", num_classes=4)
        images, classes = torch.zeros(2, 3, 16, 16), torch.zeros(2, dtype=torch.int64)
        maps = explainer(classifier, images, classes, Context(ids=_IDS, size=(8, 8)))
        return Found({"maps": maps}, {"": explainer.parameters()["digest"]})


def _array(write: Any, values: torch.Tensor) -> bytes:
    buffer = io.BytesIO()
    write(buffer, values.numpy())
    return buffer.getvalue()
