"""Score models side by side: floors and ceiling, paired differences, agreement and transfer of their maps."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from xkd_eval.classifiers.loading import load_classifier
from xkd_eval.comparison.entrants import Entrant, Model, entrants
from xkd_eval.comparison.maps import Agreement, agreement_rows, agreements, image_rows
from xkd_eval.comparison.result import Comparison
from xkd_eval.comparison.runs import Progress, Runs
from xkd_eval.comparison.scores import (
    Row,
    Scored,
    common_rows,
    corrected,
    curve_rows,
    difference_rows,
    floor_rows,
    health_row,
    score_rows,
    transfer_rows,
)
from xkd_eval.comparison.subjects import Subject, check_comparable, common_ids
from xkd_eval.datasets import ImageDataset, limit, open_dataset
from xkd_eval.devices import process_state
from xkd_eval.errors import XkdError
from xkd_eval.evaluate import Options

_PICTURED = 60
# Of the tests' options those that compare() says itself.
_OWN = ("explainer", "maps", "save_maps", "weights", "labels", "output", "figures", "seed", "limit", "progress")


def compare(
    models: Sequence[Model] | Mapping[str, Model | Sequence[Model]],
    data: str | Path | ImageDataset = "embedded",
    *,
    segmentation: str | Path | ImageDataset | None = None,
    explainer: str = "cam",
    floors: bool = True,
    images: int | None = None,
    labels: str | Path | None = None,
    output: str | Path | None = None,
    pictured: int = _PICTURED,
    command: str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    **options: Any,
) -> Comparison:
    """Which model explains itself better, is the difference real, and does it look where the first one looks?

    Args:
        models: what `load_classifier` takes, the reference (the teacher) first; or finished run directories, of which
            nothing is computed again. "NAME=MODEL", or a mapping, gives them names; several models of one name are
            training seeds of one student.
        data: labelled images for the perturbation test.
        segmentation: images with masks; by default `data` where it has them.
        explainer: makes the maps.
        floors: score random, centre and edge maps as well, and the oracle where there are masks.
        images: only a seeded, label-stratified sample of so many of each data set.
        labels: a file of labels for a flat image archive.
        output: keeps every run, so that the same call continues; gets report.html, figures/ and tables/.
        pictured: images in the report's gallery.
        command: what made it, for the report.
        seed: of the sample and the resampling.
        progress: told while a run goes on.
        options: what both tests take: protocol, target, class_map, device, precision, workers, batch_size, ...

    Raises:
        XkdError: fewer than two models, runs of different rules or images, and whatever the tests raise.
    """
    named = entrants(models)
    _check_options(options)
    state = process_state(options.get("device", "auto"))
    if output is None and state.num_processes > 1:
        raise XkdError("output: several processes need a directory to share; give one")
    with ExitStack() as stack:
        if named[0].is_run:
            runs, found = None, _Found.of_directories(named)
        else:
            place = Path(output) if output is not None else Path(stack.enter_context(tempfile.TemporaryDirectory()))
            runs = Runs(
                place / "runs",
                {entrant.label: load_classifier(entrant.model) for entrant in named},
                _data_sets(data, segmentation, labels, images, seed),
                explainer,
                floors,
                {**options, "seed": seed},
                progress or (lambda what, done, total: None),
            )
            found = _Found.of_models(runs, {entrant.label: entrant.group for entrant in named})
        result = _tables(found, explainer if runs is not None else None, seed)
        if output is not None and state.is_main_process:
            from xkd_eval.report import write_report

            write_report(Path(output), result, runs, pictured=pictured, command=command)
    return result


def _check_options(options: Mapping[str, Any]) -> None:
    """An option that no test reads would be a silent wrong number."""
    known = ["fill", "fractions", *(name for name in Options.__annotations__ if name not in _OWN)]
    wrong = next((name for name in options if name not in known), None)
    if wrong is not None:
        raise XkdError(f"compare: unknown option {wrong!r}; expected some of {', '.join(sorted(known))}")


@dataclass(frozen=True)
class _Found:
    """What the tests of a comparison left.

    Attributes:
        groups: label -> group, the reference first.
        own: tests of every model on its own maps.
        floors: on maps that know nothing of it.
        crossed: whose maps, and the test on them.
        agreements: of the models' maps.
        images: rows of Comparison.images.
    """

    groups: dict[str, str]
    own: list[Subject]
    floors: list[Subject] = field(default_factory=list)
    crossed: list[tuple[str, Subject]] = field(default_factory=list)
    agreements: list[Agreement] = field(default_factory=list)
    images: list[Row] = field(default_factory=list)

    @classmethod
    def of_models(cls, runs: Runs, groups: dict[str, str]) -> _Found:
        own = runs.own()
        perturbed = [subject for subject in own if subject.test == "perturbation"]
        shared = common_ids(perturbed)
        if not shared:
            raise XkdError("compare: no image is scored for all models; check the labels of `data`")
        floors, crossed = runs.floors(), runs.crossed(shared)
        agreed = list(agreements(runs, perturbed, groups))
        return cls(groups, own, floors, crossed, agreed, image_rows(agreed, perturbed, runs.classifiers))

    @classmethod
    def of_directories(cls, named: Sequence[Entrant]) -> _Found:
        own = [Subject.read(entrant.label, Path(str(entrant.model))) for entrant in named]
        tests = {subject.label: subject.test for subject in own}
        if len(set(tests.values())) > 1:
            listed = ", ".join(f"{label} ({test})" for label, test in tests.items())
            raise XkdError(f"compare: run directories of one test expected; found {listed}")
        return cls({entrant.label: entrant.group for entrant in named}, own)


def _tables(found: _Found, explainer: str | None, seed: int) -> Comparison:
    scores: list[Row] = []
    differences: list[Row] = []
    curves: list[Row] = []
    transfer: list[Row] = []
    for test in dict.fromkeys(subject.test for subject in found.own):
        group = [subject for subject in (*found.own, *found.floors) if subject.test == test]
        check_comparable(group)
        ids = common_ids(group)
        if not ids:
            raise XkdError("compare: no image is scored for all models; check the labels of `data`")
        own, floors = (
            _pooled([subject for subject in subjects if subject.test == test], found.groups, ids, seed)
            for subjects in (found.own, found.floors)
        )
        for scored in (*own, *floors):
            scores += score_rows(scored)
        differences += difference_rows(own) + floor_rows(own, floors)
        if test == "perturbation":
            common = common_rows(own, floors)
            scores += common[0]
            differences += common[1]
            curves = [row for scored in (*own, *floors) for row in curve_rows(scored)]
            transfer = _transfer(found, floors, ids, seed)
    return Comparison(
        models=tuple(dict.fromkeys(found.groups.values())),
        explainer=explainer,
        scores=pd.DataFrame(scores),
        differences=pd.DataFrame(corrected(differences)),
        agreement=pd.DataFrame(agreement_rows(found.agreements, seed)),
        transfer=pd.DataFrame(transfer),
        curves=pd.DataFrame(curves),
        images=pd.DataFrame(found.images),
        health=pd.DataFrame([health_row(subject) for subject in (*found.own, *found.floors)]),
        rules=_rules(found.own),
    )


def _pooled(subjects: Sequence[Subject], groups: Mapping[str, str], ids: Sequence[str], seed: int) -> list[Scored]:
    """Seeds of one student under one kind of maps together, in order of appearance."""
    members: dict[tuple[str, str], list[Subject]] = {}
    for subject in subjects:
        members.setdefault((groups[subject.label], subject.maps), []).append(subject.restricted(ids))
    return [Scored.of(name, pooled, seed) for (name, _), pooled in members.items()]


def _transfer(found: _Found, floors: Sequence[Scored], ids: Sequence[str], seed: int) -> list[Row]:
    """Whose maps choose the pixels, the floors' too; seeds of one student together."""
    members: dict[tuple[str, str], list[Subject]] = {}
    for source, subject in found.crossed:
        members.setdefault((found.groups[source], found.groups[subject.label]), []).append(subject.restricted(ids))
    # Where the reference answers to the maps of each seed of a student, the seeds are the student's.
    crossed = [
        row
        for (source, name), pooled in members.items()
        for row in transfer_rows(source, Scored.of(name, pooled, seed))
    ]
    return crossed + [row for floor in floors for row in transfer_rows(floor.maps, floor)] if crossed else []


def _rules(subjects: Sequence[Subject]) -> dict[str, Any]:
    """Test -> protocol, data, and each model's column: what is recorded beside the rules."""
    rules: dict[str, Any] = {}
    for subject in subjects:
        described = subject.description
        rule = rules.setdefault(
            subject.test, {"protocol": described["protocol"], "data": described["data"], "columns": {}}
        )
        rule["columns"][subject.label] = {name: described[name] for name in ("model", "explainer", "precision")}
    return rules


def _data_sets(
    data: str | Path | ImageDataset,
    segmentation: str | Path | ImageDataset | None,
    labels: str | Path | None,
    images: int | None,
    seed: int,
) -> dict[str, ImageDataset]:
    def opened(given: str | Path | ImageDataset, file: str | Path | None = None) -> ImageDataset:
        if isinstance(given, ImageDataset):
            dataset = given
        else:
            dataset = open_dataset(str(given), labels=None if file is None else Path(file))
        return dataset if images is None else limit(dataset, images, seed)

    labelled = opened(data, labels)
    sets = {"perturbation": labelled}
    if segmentation is not None:
        sets["segmentation"] = opened(segmentation)
    elif labelled.has_masks:
        sets["segmentation"] = labelled
    return sets
