"""Which cells a comparison has: each model on its own maps, beside floors and oracle, crossed with the reference."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from xkd_eval.datasets import ImageDataset
from xkd_eval.evaluations.base import Evaluation
from xkd_eval.explainers import Explainer, create_explainer
from xkd_eval.study.cells import Cell, explained, of_references_class, own_cell
from xkd_eval.study.floors import FLOORS, ORACLE
from xkd_eval.study.inputs import StudyInputs

Kind = Literal["own", "floor", "crossed", "agreement", "floor's agreement"]


@dataclass(frozen=True)
class PlannedCell:
    """A cell, and what it is to the comparison.

    Attributes:
        kind: a model on its "own" maps, or on a "floor"'s; "crossed": on another model's; "agreement" of its maps with
            the reference's, or a "floor's agreement" with them.
        model: its name in tables.
        maps_of: the name of the model whose maps are scored.
        cell: to be run.
    """

    kind: Kind
    model: str
    maps_of: str
    cell: Cell


def plan_cells(
    inputs: StudyInputs,
    tests: Mapping[str, Evaluation],
    sets: Mapping[str, ImageDataset],
    explainer: Explainer,
    *,
    floors: bool,
    without: Collection[tuple[str, str]] = (),
) -> list[PlannedCell]:
    """All cells of a comparison.

    Args:
        inputs: models, the reference first.
        tests: by name.
        sets: test -> data set.
        explainer: of the models' own maps.
        floors: score maps that know nothing of the model as well, and the masks where there are any.
        without: (test, model), which do not fit.
    """
    made = {name: create_explainer(name).seeded(inputs.options.seed) for name in (*FLOORS, ORACLE)}
    planned: list[PlannedCell] = []
    for name, test in tests.items():
        dataset = sets[name]
        known = (*FLOORS, ORACLE) if dataset.has_masks else FLOORS
        beside = [made[floor] for floor in known if floors and floor != explainer.name]
        if test.is_of_pairs():
            planned += _agreements(inputs, test, dataset, explainer, beside)
            continue
        for model in models_of(inputs, test):
            if (name, model) in without:
                continue
            planned.append(PlannedCell("own", model, model, own_cell(inputs, test, dataset, model, explainer)))
            if test.needs_maps:
                planned += [
                    PlannedCell("floor", model, model, own_cell(inputs, test, dataset, model, floor))
                    for floor in beside
                ]
        if test.crosses:
            planned += _crossings(inputs, test, dataset, explainer)
    return planned


def models_of(inputs: StudyInputs, test: Evaluation) -> list[str]:
    """The models that a test scores by themselves: without the reference where it is what they are held against."""
    return [model for model in inputs.classifiers if not (test.needs_reference and model == inputs.reference)]


def _crossings(inputs: StudyInputs, test: Evaluation, dataset: ImageDataset, explainer: Explainer) -> list[PlannedCell]:
    """The reference's maps are scored and another model answers, and the reverse."""
    reference, *others = inputs.classifiers
    pairs = [pair for other in others for pair in ((reference, other), (other, reference))]
    return [
        PlannedCell(
            "crossed",
            model,
            maps_of,
            Cell(test, model, dataset, explained(inputs, maps_of, explainer, test.protocol.target)),
        )
        for maps_of, model in pairs
    ]


def _agreements(
    inputs: StudyInputs, test: Evaluation, dataset: ImageDataset, explainer: Explainer, floors: list[Explainer]
) -> list[PlannedCell]:
    """Maps held against the reference's: other models', of their own class and of the reference's; and the floors'."""
    reference, *others = inputs.classifiers
    planned = []
    for model in others:
        cell = own_cell(inputs, test, dataset, model, explainer)
        planned.append(PlannedCell("agreement", model, model, cell))
        same_class = of_references_class(inputs, cell)
        if same_class is not None:
            planned.append(PlannedCell("agreement", model, model, same_class))
    own = explained(inputs, reference, explainer, test.protocol.target)
    for floor in floors:
        cell = Cell(test, reference, dataset, explained(inputs, reference, floor, test.protocol.target), own)
        planned.append(PlannedCell("floor's agreement", reference, reference, cell))
    return planned
