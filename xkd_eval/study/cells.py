"""A study is a grid of cells: model x maps x test. Here is which cells a study has, and what tells them apart."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

import xkd_eval
from xkd_eval.datasets import ImageDataset
from xkd_eval.engines.eager import chunk_size
from xkd_eval.evaluations.base import Evaluation
from xkd_eval.evaluations.protocol import Target
from xkd_eval.explainers.base import Explainer
from xkd_eval.study.inputs import StudyInputs


@dataclass(frozen=True, eq=False)
class Maps:
    """Whose maps, by which explainer, of which class. Two are equal where the explainer is the same object.

    Attributes:
        model: the label of the model that is explained.
        explainer: makes them.
        target: the class that is explained.
    """

    model: str
    explainer: Explainer
    target: Target

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Maps) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[str, int, str]:
        return self.model, id(self.explainer), self.target  # another package's explainer need not be hashable


@dataclass(frozen=True, eq=False)
class Cell:
    """One test of one model on one kind of maps.

    Attributes:
        test: under its protocol.
        model: the label of the model that answers.
        dataset: what is scored.
        maps: what is scored; another model's in a crossing. None for a test that needs none.
        reference: the maps that they are held against, for a test that needs a reference.
    """

    test: Evaluation
    model: str
    dataset: ImageDataset
    maps: Maps | None
    reference: Maps | None = None

    @property
    def is_crossed(self) -> bool:
        """Whether the maps are another model's."""
        return self.maps is not None and self.maps.model != self.model

    @property
    def sources(self) -> tuple[Maps, ...]:
        """The maps that it needs."""
        return tuple(maps for maps in (self.maps, self.reference) if maps is not None)

    @property
    def asks_reference(self) -> bool:
        """Whether the reference's answers enter."""
        targets = {self.test.protocol.target, *(maps.target for maps in self.sources)}
        return self.test.needs_reference or "reference" in targets


def explained(inputs: StudyInputs, label: str, explainer: Explainer, target: Target) -> Maps:
    """A model's maps; those that no network enters are the first model's that is given the same input."""
    if explainer.model_free:
        return Maps(inputs.alike(label), explainer, "predicted")
    explainer.check(inputs.classifiers[label])
    return Maps(label, explainer, target)


def own_cells(
    inputs: StudyInputs,
    tests: Mapping[str, Evaluation],
    sets: Mapping[str, ImageDataset],
    explainers: Sequence[Explainer],
) -> list[Cell]:
    """Every model on its own maps, under every test.

    A test that needs a reference is run for all models but the first, against the first model's maps by the same
    explainer. A test of the answers alone has one cell a model.
    """
    cells = []
    for name, test in tests.items():
        for label in inputs.classifiers:
            if test.needs_reference and label == inputs.reference:
                continue
            if not test.needs_maps:
                cells.append(Cell(test, label, sets[name], None))
                continue
            cells += [own_cell(inputs, test, sets[name], label, explainer) for explainer in explainers]
    return cells


def own_cell(inputs: StudyInputs, test: Evaluation, dataset: ImageDataset, label: str, explainer: Explainer) -> Cell:
    """One test of one model on its own maps, or on maps that no network enters."""
    target = test.protocol.target
    maps = explained(inputs, label, explainer, target)
    if explainer.model_free and not test.reads_answers:
        label = inputs.alike(label)
    reference = explained(inputs, inputs.reference, explainer, _own(target)) if test.needs_reference else None
    return Cell(test, label, dataset, maps, reference)


def of_references_class(inputs: StudyInputs, cell: Cell) -> Cell | None:
    """The cell once more with maps of the class that the reference predicts; None where that says nothing new."""
    if cell.maps is None or cell.test.protocol.target != "predicted" or not inputs.share_classes(cell.model):
        return None
    rules = replace(cell.test.protocol, target="reference")
    test = type(cell.test).from_description(rules.to_dict(), cell.test.settings())
    return replace(cell, test=test, maps=replace(cell.maps, target="reference"))


def _own(target: Target) -> Target:
    """The class that the reference's own maps are of."""
    return "predicted" if target == "reference" else target


def describe(cell: Cell, inputs: StudyInputs, device: torch.device) -> dict[str, Any]:
    """What a cell is, as protocol.json holds it: a directory is continued by a cell of the same description alone."""
    classifier, options = inputs.classifiers[cell.model], inputs.options
    labels = inputs.labels(cell.dataset, cell.model, required=needs_labels(cell))
    described = {
        "schema": "xkd-eval/protocol/2",
        "version": xkd_eval.__version__,
        "protocol": {"hash": cell.test.protocol.hash, **cell.test.protocol.to_dict()},
        "test": cell.test.name,
        "model": {
            **_model(inputs, cell.model),
            "num_classes": classifier.num_classes,
            "preprocess": inputs.preprocess(cell.model).to_dict(),
        },
        "explainer": _maps(inputs, cell, cell.maps),
        # What is forwarded once is forwarded exactly: the precision is that of images which a test makes.
        "precision": options.precision if cell.test.forwards_again else "fp32",
        "settings": {**cell.test.settings(), "chunk": chunk_size(device)},
        "data": {
            "name": cell.dataset.name,
            "digest": cell.dataset.digest(),
            "labels_digest": hashlib.sha256(json.dumps(labels).encode()).hexdigest(),
            "n_images": len(cell.dataset),
        },
    }
    if cell.test.needs_reference:
        described["reference"] = {**_model(inputs, inputs.reference), "explainer": _maps(inputs, cell, cell.reference)}
    return described


def needs_labels(cell: Cell) -> bool:
    """Whether an image without a label is skipped."""
    return cell.test.needs_labels or cell.test.protocol.target == "true"


def folder_name(description: Mapping[str, Any]) -> str:
    """MODEL-EXPLAINER-DATA-DIGEST: the same cell finds its own directory, another one never does."""
    identity = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()[:8]
    explainer = description["explainer"]
    source = f"{explainer['name']}-of-{explainer['of']['name']}" if "of" in explainer else explainer["name"]
    words = (description["model"]["name"], source, description["data"]["name"], identity)
    return "-".join(safe(word) for word in words)


def maps_folder(inputs: StudyInputs, maps: Maps) -> str:
    """MODEL-EXPLAINER-DIGEST, for the maps that a study keeps."""
    described = {
        "model": _model(inputs, maps.model),
        "preprocess": inputs.preprocess(maps.model).to_dict(),
        "explainer": {"name": maps.explainer.name, **maps.explainer.parameters()},
        "target": maps.target,
        "reference": _model(inputs, inputs.reference) if maps.target == "reference" else None,
    }
    identity = hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode()).hexdigest()[:8]
    return "-".join(map(safe, (inputs.classifiers[maps.model].name, maps.explainer.name, identity)))


def safe(word: str) -> str:
    """A word that may stand in a file's name."""
    return "".join(sign if sign.isalnum() or sign in "._" else "_" for sign in word)[:60]


def default_directory(description: Mapping[str, Any], root: Path = Path("runs")) -> Path:
    """ROOT/TEST/MODEL-EXPLAINER-DATA-DIGEST."""
    return root / description["test"] / folder_name(description)


def _model(inputs: StudyInputs, label: str) -> dict[str, Any]:
    return {"name": inputs.classifiers[label].name, "digest": inputs.digest(label)}


def _maps(inputs: StudyInputs, cell: Cell, maps: Maps | None) -> dict[str, Any]:
    if maps is None:
        return {"name": "none"}
    described: dict[str, Any] = {"name": maps.explainer.name, **maps.explainer.parameters()}
    if maps.model != cell.model and not maps.explainer.model_free and maps is cell.maps:
        preprocess = inputs.preprocess(maps.model).to_dict()
        described["of"] = {**_model(inputs, maps.model), "preprocess": preprocess}
    return json.loads(json.dumps(described, default=str))
