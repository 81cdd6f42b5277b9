"""Score models side by side: floors and ceiling, paired differences, agreement and transfer of their maps."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.loading import load_classifier
from xkd_eval.comparison.maps import agreement_rows
from xkd_eval.comparison.result import Comparison
from xkd_eval.comparison.subjects import COMMON, Subject, check_comparable, common_ids, interval_cells, read_subject
from xkd_eval.datasets import ImageDataset, limit, open_dataset
from xkd_eval.errors import XkdError
from xkd_eval.evaluate import perturbation_test, segmentation_test
from xkd_eval.paired import Resamples, holm, mcnemar_p, rank_biserial, wilcoxon_p

FLOORS = ("random", "centre", "edges")
CEILING = "oracle"

Progress = Callable[[str, int, int], None]
"""Called with what is under way, the images done and the images in all."""

_OWN_MAPS = "cam"


def compare(
    models: Sequence[str | Path | Classifier] | Mapping[str, str | Path | Classifier],
    data: str | Path | ImageDataset = "embedded",
    *,
    segmentation: str | Path | ImageDataset | None = None,
    explainer: str = _OWN_MAPS,
    floors: bool = True,
    images: int | None = None,
    output: str | Path | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    **options: Any,
) -> Comparison:
    """Which model explains itself better, is the difference real, and does it look where the first one looks?

    Args:
        models: what `load_classifier` takes, the reference (the teacher) first; or finished run directories, of which
            nothing is computed again. A mapping gives them labels.
        data: labelled images for the perturbation test.
        segmentation: images with masks; by default `data` where it has them.
        explainer: makes the maps.
        floors: score random, centre and edge maps as well, and the oracle where there are masks.
        images: only a seeded, label-stratified sample of so many of each data set.
        output: keeps every run, so that the same call continues; tables go to `output`/tables.
        seed: of the sample and the resampling.
        progress: told while a run goes on.
        options: what both tests take: protocol, target, device, precision, workers, batch_size, ...

    Raises:
        XkdError: fewer than two models, runs of different rules or images, and whatever the tests raise.
    """
    named = _labelled(models)
    if all(_is_run(model) for model in named.values()):
        subjects = [read_subject(Path(str(model))) for model in named.values()]
        renamed = zip(named, subjects, strict=True)
        return _finish([replace(subject, label=label) for label, subject in renamed], [], [], seed, output)
    report = progress or (lambda what, done, total: None)
    with ExitStack() as stack:
        place = Path(output) if output is not None else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        classifiers = {label: load_classifier(model) for label, model in named.items()}
        sets = _data_sets(data, segmentation, images, seed)
        runs = _Runs(place / "runs", explainer, sets, {**options, "seed": seed}, report)
        subjects, crossed = runs.own(classifiers, floors), runs.crossed(classifiers)
        agreement = agreement_rows(
            classifiers,
            [subject for subject in subjects if subject.test == "perturbation" and subject.maps == explainer],
            sets["perturbation"],
            runs.maps,
            explainer,
            seed,
        )
        return _finish(subjects, crossed, agreement, seed, output)


class _Runs:
    """The tests of a comparison, each in a directory of its own."""

    def __init__(
        self,
        place: Path,
        explainer: str,
        sets: Mapping[str, ImageDataset],
        options: dict[str, Any],
        report: Progress,
    ) -> None:
        self._place = place
        self._explainer = explainer
        self._sets = sets
        self._options = options
        self._report = report

    def maps(self, label: str) -> Path:
        """Where a model's maps of the perturbation test's images lie."""
        return self._place / label / "maps"

    def own(self, classifiers: Mapping[str, Classifier], floors: bool) -> list[Subject]:
        """Every test of every model, with its own maps, floors and the ceiling."""
        subjects = []
        for test in self._sets:
            masks = self._sets[test].has_masks
            maps = (self._explainer, *(FLOORS if floors else ()), *((CEILING,) if floors and masks else ()))
            for label, classifier in classifiers.items():
                for name in maps:
                    keep = {"save_maps": self.maps(label)} if (test, name) == ("perturbation", self._explainer) else {}
                    subjects.append(self._run(test, label, classifier, name, explainer=name, **keep))
        return subjects

    def crossed(self, classifiers: Mapping[str, Classifier]) -> list[tuple[str, Subject]]:
        """Remove what the reference's maps mark and ask the others, and the reverse: (whose maps, whose answers)."""
        reference, *others = classifiers
        pairs = [pair for other in others for pair in ((reference, other), (other, reference))]
        return [
            (source, self._run("perturbation", label, classifiers[label], f"maps-of-{source}", maps=self.maps(source)))
            for source, label in pairs
        ]

    def _run(self, test: str, label: str, classifier: Classifier, name: str, **changes: Any) -> Subject:
        run = perturbation_test if test == "perturbation" else segmentation_test
        result = run(
            classifier,
            self._sets[test],
            output=self._place / label / f"{test}-{name}",
            progress=lambda done, total: self._report(f"{label}, {test}, {name}", done, total),
            **{**self._options, **changes},
        )
        return Subject.of(label, result)


def _finish(
    subjects: list[Subject],
    crossed: list[tuple[str, Subject]],
    agreement: list[dict[str, Any]],
    seed: int,
    output: str | Path | None,
) -> Comparison:
    scores: list[dict[str, Any]] = []
    differences: list[dict[str, Any]] = []
    for test in dict.fromkeys(subject.test for subject in subjects):
        group = [subject for subject in subjects if subject.test == test]
        check_comparable(group)
        ids = common_ids(group)
        if not ids:
            raise XkdError("compare: no image is scored for all models; check the labels of --data")
        group = [subject.restricted(ids) for subject in group]
        own = group[0].maps
        draws = {id(subject): subject.resamples(seed) for subject in group}
        for subject in group:
            scores += _score_rows(subject, draws[id(subject)])
        models = [subject for subject in group if subject.maps == own]
        differences += _difference_rows(models, [draws[id(subject)] for subject in models])
        if test == "perturbation":
            common = _commonly_right(models, seed)
            scores += common[0]
            differences += common[1]
    transfer = [row for source, subject in crossed for row in _transfer_rows(source, subject, seed)]
    result = Comparison(
        models=tuple(dict.fromkeys(subject.label for subject in subjects)),
        scores=pd.DataFrame(scores),
        differences=pd.DataFrame(_corrected(differences)),
        agreement=pd.DataFrame(agreement),
        transfer=pd.DataFrame(transfer),
        health=pd.DataFrame([_health(subject) for subject in subjects]),
    )
    if output is not None:
        result.write(Path(output) / "tables")
    return result


def _score_rows(subject: Subject, draws: Resamples, suffix: str = "") -> list[dict[str, Any]]:
    chosen = subject.compared_scores()
    return [
        {
            "model": subject.label,
            "maps": subject.maps,
            "score": f"{name}{suffix}",
            **interval_cells(draws.interval(score)),
            "n_images": len(subject.ids),
        }
        for name, score in chosen.items()
        if not suffix or name in COMMON
    ]


def _difference_rows(models: list[Subject], draws: list[Resamples], suffix: str = "") -> list[dict[str, Any]]:
    rows = []
    for (model, drawn), (other, other_drawn) in combinations(zip(models, draws, strict=True), 2):
        for name, score in model.compared_scores().items():
            if suffix and name not in COMMON:
                continue
            # Later models less earlier ones: a student less its teacher.
            rows.append(
                {
                    "score": f"{name}{suffix}",
                    "model": other.label,
                    "other": model.label,
                    **interval_cells(other_drawn.difference(drawn, score)),
                    **_tested(other, model, name),
                }
            )
    return rows


def _tested(model: Subject, other: Subject, score: str) -> dict[str, float | None]:
    ours, theirs = model.per_image(score), other.per_image(score)
    if ours is None or theirs is None:
        return {"p": None, "effect": None}
    hits = score == "clean_accuracy"
    p = mcnemar_p(ours > 0, theirs > 0) if hits else wilcoxon_p(ours - theirs)
    return {"p": p, "effect": rank_biserial(ours - theirs)}


def _commonly_right(models: list[Subject], seed: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Scores and differences on the images that all models classify correctly; empty where there are none."""
    first = models[0]
    right = [
        identifier
        for place, identifier in enumerate(first.ids)
        if all(bool(subject.rows["clean_hit"][place]) for subject in models)
    ]
    if not right:
        return [], []
    chosen = [subject.restricted(right) for subject in models]
    draws = [subject.resamples(seed) for subject in chosen]
    pairs = zip(chosen, draws, strict=True)
    scores = [row for subject, drawn in pairs for row in _score_rows(subject, drawn, "_common")]
    return scores, _difference_rows(chosen, draws, "_common")


def _transfer_rows(source: str, subject: Subject, seed: int) -> list[dict[str, Any]]:
    draws, known = subject.resamples(seed), subject.compared_scores()
    return [
        {
            "maps_of": source,
            "measured_on": subject.label,
            "score": score,
            **interval_cells(draws.interval(known[score])),
        }
        for score in COMMON
    ]


def _corrected(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Holm's correction over the pairs of models of each score."""
    for score in {row["score"] for row in rows}:
        family = [row for row in rows if row["score"] == score and row["p"] is not None]
        for row, p in zip(family, holm([row["p"] for row in family]), strict=True):
            row["p_holm"] = p
    order = ("score", "model", "other", "value", "low", "high", "p", "p_holm", "effect")
    return [{name: row.get(name) for name in order} for row in rows]


def _health(subject: Subject) -> dict[str, Any]:
    summary = subject.summary
    return {
        "model": subject.label,
        "test": subject.test,
        "maps": subject.maps,
        "protocol": f"{summary['protocol']['name']} ({summary['protocol']['hash']})",
        "n_images": summary["n_images"],
        "skipped": summary["skipped"]["count"],
        "degenerate_maps": summary["degenerate_maps"],
        "tie_share": summary["tie_share"]["value"] if "tie_share" in summary else None,
    }


def _data_sets(
    data: str | Path | ImageDataset, segmentation: str | Path | ImageDataset | None, images: int | None, seed: int
) -> dict[str, ImageDataset]:
    def opened(given: str | Path | ImageDataset) -> ImageDataset:
        dataset = given if isinstance(given, ImageDataset) else open_dataset(str(given))
        return dataset if images is None else limit(dataset, images, seed)

    labelled = opened(data)
    sets = {"perturbation": labelled}
    if segmentation is not None:
        sets["segmentation"] = opened(segmentation)
    elif labelled.has_masks:
        sets["segmentation"] = labelled
    return sets


def _labelled(
    models: Sequence[str | Path | Classifier] | Mapping[str, str | Path | Classifier],
) -> dict[str, str | Path | Classifier]:
    """A label each; equal ones are told apart by a number."""
    if isinstance(models, Mapping):
        named = dict(models)
    else:
        named = {}
        for model in models:
            label = model.name if isinstance(model, Classifier) else _short(str(model))
            taken = sum(known == label or known.rpartition(" #")[0] == label for known in named)
            named[f"{label} #{taken + 1}" if taken else label] = model
    if len(named) < 2:
        raise XkdError(f"compare: {len(named)} model given; expected at least two, the teacher first")
    runs = [label for label, model in named.items() if _is_run(model)]
    if runs and len(runs) < len(named):
        raise XkdError(f"compare: {runs[0]} is a run directory and others are models; give one kind")
    return named


def _short(model: str) -> str:
    """ "runs/kd/student.pt" -> "kd"; "kd.pt" -> "kd"; names of a library as they are, without slashes."""
    path = Path(model)
    if path.suffix in (".pt", ".pth"):
        generic = path.stem in ("student", "best", "last") and path.parent.name
        return path.parent.name if generic else path.stem
    return path.name if path.is_dir() else model.replace("/", " ")


def _is_run(model: str | Path | Classifier) -> bool:
    return not isinstance(model, Classifier) and Path(model).is_dir()
