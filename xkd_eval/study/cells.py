"""A study is a grid of cells: model x maps x test. Here is which cells a study has, and what tells them apart."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

import xkd_eval
from xkd_eval.datasets import ImageDataset
from xkd_eval.datasets.base import LabelSets
from xkd_eval.digests import digest_of
from xkd_eval.errors import XkdError
from xkd_eval.evaluations.base import Evaluation
from xkd_eval.evaluations.protocol import Target
from xkd_eval.explainers.base import Explainer
from xkd_eval.explainers.holding import check_holds
from xkd_eval.study.inputs import StudyInputs
from xkd_eval.study.records import PROTOCOL_SCHEMA, identity_of
from xkd_eval.study.stopping import stopping_of

NO_MAPS = "none"
"""What tables call the maps of a test that needs none."""


@dataclass(frozen=True, eq=False)
class MapSource:
    """Whose maps, by which explainer, of which class. Two are equal where the explainer is the same object.

    Attributes:
        model: the name of the model that is explained.
        explainer: makes them.
        target: the class that is explained.
    """

    model: str
    explainer: Explainer
    target: Target

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MapSource) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[str, int, str]:
        return self.model, id(self.explainer), self.target  # another package's explainer need not be hashable


@dataclass(frozen=True, eq=False)
class Cell:
    """One test of one model on one kind of maps. Two are equal where they score the same.

    Attributes:
        test: under its protocol.
        model: the name of the model that answers.
        dataset: what is scored.
        source: of the maps that are scored; another model in a crossing. None for a test that needs none.
        reference: of the maps that they are held against, for a test that needs a reference.
    """

    test: Evaluation
    model: str
    dataset: ImageDataset
    source: MapSource | None
    reference: MapSource | None = None

    @property
    def is_crossed(self) -> bool:
        """Whether the maps are another model's."""
        return self.source is not None and self.source.model != self.model

    @property
    def sources(self) -> tuple[MapSource, ...]:
        """The maps that it needs."""
        return tuple(source for source in (self.source, self.reference) if source is not None)

    @property
    def asks_reference(self) -> bool:
        """Whether the reference's answers enter."""
        targets = {self.test.protocol.target, *(source.target for source in self.sources)}
        return self.test.needs_reference or "reference" in targets

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cell) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[int, str, int, MapSource | None, MapSource | None]:
        return id(self.test), self.model, id(self.dataset), self.source, self.reference


def explained(inputs: StudyInputs, model: str, explainer: Explainer, target: Target) -> MapSource:
    """A model's maps; those that no network enters are the first model's that is given the same input."""
    if explainer.model_free:
        return MapSource(inputs.alike(model), explainer, "predicted")
    check_holds(explainer, inputs.classifiers[model])
    return MapSource(model, explainer, target)


def own_cells(
    inputs: StudyInputs,
    tests: Mapping[str, Evaluation],
    sets: Mapping[str, ImageDataset],
    explainers: Mapping[str, Explainer],
    without: Collection[tuple[str, str]] = (),
) -> dict[tuple[str, str, str], Cell]:
    """Every model on its own maps, under every test.

    A test that needs a reference is run for all models but the first, against the first model's maps by the same
    explainer. A test of the answers alone has one cell a model.

    Returns:
        (model, maps, test), as tables call them -> cell. Several may have one cell, where no answer of a model enters.

    Args:
        inputs: models, the reference first.
        tests: by name.
        sets: test -> data set.
        explainers: of the models' own maps.
        without: (test, model), which do not fit.
    """
    cells: dict[tuple[str, str, str], Cell] = {}
    for name, test in tests.items():
        for model in inputs.classifiers:
            if (test.needs_reference and model == inputs.reference) or (name, model) in without:
                continue
            if not test.needs_maps:
                cells[model, NO_MAPS, name] = Cell(test, model, sets[name], None)
                continue
            for maps, explainer in explainers.items():
                cells[model, maps, name] = own_cell(inputs, test, sets[name], model, explainer)
    return cells


def own_cell(inputs: StudyInputs, test: Evaluation, dataset: ImageDataset, model: str, explainer: Explainer) -> Cell:
    """One test of one model on its own maps, or on maps that no network enters; of its answers, where it needs none."""
    if not test.needs_maps:
        return Cell(test, model, dataset, None)
    target = test.protocol.target
    maps = explained(inputs, model, explainer, target)
    if explainer.model_free and not test.reads_answers:
        model = inputs.alike(model)
    reference = explained(inputs, inputs.reference, explainer, _own(target)) if test.needs_reference else None
    return Cell(test, model, dataset, maps, reference)


def unfitting(
    inputs: StudyInputs, tests: Mapping[str, Evaluation], optional: Collection[str]
) -> dict[tuple[str, str], str]:
    """(test, model) -> why the two do not fit, of those that do not.

    Raises:
        XkdError: there is one, and it is not `optional`, since the test was asked for by name.
    """
    found = {
        (name, model): _other_classes(inputs, model)
        for name, test in tests.items()
        for model in inputs.classifiers
        if test.shares_classes and not inputs.share_classes(model)
    }
    for (test_name, _), why in found.items():
        if test_name not in optional:
            raise XkdError(f"tests {test_name}: {why}; leave it out, or give models of the same classes")
    return found


def _other_classes(inputs: StudyInputs, model: str) -> str:
    ours, theirs = (inputs.classifiers[name].num_classes for name in (model, inputs.reference))
    found = f"{ours:,} and {theirs:,}" if ours != theirs else f"{ours:,} of other names or in another order"
    return f"it holds answers to the same classes against each other, and {model} and {inputs.reference} have {found}"


def of_references_class(inputs: StudyInputs, cell: Cell) -> Cell | None:
    """The cell once more with maps of the class that the reference predicts; None where that says nothing new."""
    if cell.source is None or cell.test.protocol.target != "predicted" or not inputs.share_classes(cell.model):
        return None
    rules = replace(cell.test.protocol, target="reference")
    test = type(cell.test).from_description(rules.to_dict(), cell.test.settings())
    return replace(cell, test=test, source=replace(cell.source, target="reference"))


def _own(target: Target) -> Target:
    """The class that the reference's own maps are of."""
    return "predicted" if target == "reference" else target


def describe(cell: Cell, inputs: StudyInputs, device: torch.device) -> dict[str, Any]:
    """What a cell is, as protocol.json holds it: a directory is continued by a cell of the same description alone."""
    classifier, options = inputs.classifiers[cell.model], inputs.options
    plan = inputs.plan(cell.dataset, cell.model, device, asked=cell.test.forwards_again)
    described: dict[str, Any] = {
        "schema": PROTOCOL_SCHEMA,
        "version": xkd_eval.__version__,
        "protocol": {"hash": cell.test.protocol.hash, **cell.test.protocol.to_dict()},
        "test": cell.test.name,
        "model": {
            **_model(inputs, cell.model),
            "num_classes": classifier.num_classes,
            "preprocess": inputs.preprocess(cell.model).to_dict(),
        },
        "explainer": _maps(inputs, cell, cell.source),
        # What is forwarded once is forwarded exactly, and by torch unless a file has its own engine: both are of images
        # that a test makes.
        "precision": options.precision if cell.test.forwards_again else "fp32",
        "engine": {"name": plan.engine, "version": plan.version},
        "settings": {**cell.test.settings(), "chunk": plan.chunk},
        "data": _data(inputs, cell.dataset, cell.model, required=needs_labels(cell)),
    }
    if cell.dataset.url is not None:
        described["data"]["url"] = cell.dataset.url
    stopping = stopping_of(cell.test, options)
    if stopping is not None:
        described["stopping"] = asdict(stopping)
    if cell.test.needs_boxes and cell.dataset.boxes_from is not None:
        described["data"]["boxes"] = asdict(cell.dataset.boxes_from)
    if cell.test.needs_reference:
        described["reference"] = {
            **_model(inputs, inputs.reference),
            "preprocess": inputs.preprocess(inputs.reference).to_dict(),
            "explainer": _maps(inputs, cell, cell.reference),
        }
    return described


def needs_labels(cell: Cell) -> bool:
    """Whether an image without a label is skipped."""
    return cell.test.needs_labels or cell.test.protocol.target == "true"


def folder_name(description: Mapping[str, Any]) -> str:
    """MODEL-EXPLAINER-DATA-DIGEST: the same cell finds its own directory, another one never does."""
    identity = identity_of(description)[:8]
    explainer = description["explainer"]
    source = f"{explainer['name']}-of-{explainer['of']['name']}" if "of" in explainer else explainer["name"]
    words = (description["model"]["name"], source, description["data"]["name"], identity)
    return "-".join(safe(word) for word in words)


def maps_folder(inputs: StudyInputs, maps: MapSource, dataset: ImageDataset) -> str:
    """MODEL-EXPLAINER-DIGEST, for the maps that a study keeps: another data set's photographs may have the same ids."""
    described = {
        "data": _data(inputs, dataset, maps.model, required=maps.target == "true"),
        "model": _model(inputs, maps.model),
        "preprocess": inputs.preprocess(maps.model).to_dict(),
        "explainer": {"name": maps.explainer.name, **maps.explainer.parameters()},
        "target": maps.target,
        "reference": _model(inputs, inputs.reference) if maps.target == "reference" else None,
    }
    identity = digest_of(_plain(described))[:8]
    return "-".join(map(safe, (inputs.classifiers[maps.model].name, maps.explainer.name, identity)))


def safe(word: str) -> str:
    """A word that may stand in a file's name: at most 60 bytes, and no `.` or `..`."""
    plain = "".join(sign if sign.isalnum() or sign in "._" else "_" for sign in word)
    return plain.encode()[:60].decode(errors="ignore").strip(".") or "_"


def default_directory(description: Mapping[str, Any], root: Path = Path("runs")) -> Path:
    """ROOT/TEST/MODEL-EXPLAINER-DATA-DIGEST."""
    return root / safe(description["test"]) / folder_name(description)


def _model(inputs: StudyInputs, model: str) -> dict[str, Any]:
    return {"name": inputs.classifiers[model].name, "digest": inputs.digest(model)}


def _data(inputs: StudyInputs, dataset: ImageDataset, model: str, *, required: bool) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "digest": inputs.data_digest(dataset),
        "labels_digest": digest_of(inputs.known_labels(dataset, model, required=required)),
        "n_images": len(dataset),
        **({} if dataset.label_sets is None else {"label_sets": _label_sets(dataset.label_sets)}),
    }


def _label_sets(sets: LabelSets) -> dict[str, int]:
    return {"photographs": len(set(sets.photographs)), "unlabelled": sets.unlabelled}


def _maps(inputs: StudyInputs, cell: Cell, maps: MapSource | None) -> dict[str, Any]:
    if maps is None:
        return {"name": NO_MAPS}
    described: dict[str, Any] = {"name": maps.explainer.name, **maps.explainer.parameters()}
    if maps.model != cell.model and not maps.explainer.model_free and maps is cell.source:
        preprocess = inputs.preprocess(maps.model).to_dict()
        described["of"] = {**_model(inputs, maps.model), "preprocess": preprocess}
    return _plain(described)


def _plain(described: dict[str, Any]) -> dict[str, Any]:
    """As it is read back from JSON; an explainer's parameter that JSON does not know is its text."""
    return json.loads(json.dumps(described, default=str))
