"""Rows on the agreement of maps: of all images, of those by who is right, and image by image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.comparison.groups import interval_cells
from xkd_eval.comparison.tables import Row
from xkd_eval.evaluations.scores import PHOTOGRAPH
from xkd_eval.statistics.intervals import Interval
from xkd_eval.statistics.paired import Resamples, bca_interval, hierarchical_interval
from xkd_eval.study.result import EvaluationResult

ALL = "all"
OUTCOMES = {
    (True, True): "both right",
    (True, False): "model only",
    (False, True): "reference only",
    (False, False): "both wrong",
}
"""Whether the model and the reference are right."""


def agreement_rows(
    found: Sequence[EvaluationResult], floors: Sequence[EvaluationResult], groups: Mapping[str, str], seed: int
) -> list[Row]:
    """The rows of Comparison.agreement: means over images, and over seeds where there are several.

    Args:
        found: of the models' maps with the reference's.
        floors: of maps that know nothing of a model, with the reference's.
        groups: model -> group.
        seed: of the draws.
    """
    members: dict[tuple[str, str, str, str], list[EvaluationResult]] = {}
    for result in (*found, *floors):
        key = (groups[result.model], result.maps, result.test.name, result.test.protocol.target)
        members.setdefault(key, []).append(result)
    known = set(map(id, floors))
    return [
        row
        for (name, *_), seeds in members.items()
        # A floor has no answers of its own, by which images could be split.
        for row in _rows(name, seeds, seed, split=id(seeds[0]) not in known)
    ]


def image_rows(
    own: Sequence[EvaluationResult],
    scored: Sequence[EvaluationResult],
    found: Sequence[EvaluationResult],
    floors: Sequence[EvaluationResult],
    classifiers: Mapping[str, Classifier],
    ids: Sequence[str],
) -> list[Row]:
    """The rows of Comparison.images: one an image and kind of maps, with the agreement of these maps.

    Args:
        own: one result a model, the reference first, whose rows hold the answers.
        scored: results of the models' own maps on these images, whose scores have a value an image.
        found, floors: agreements of each model's own class; see `agreement_rows`.
        classifiers: by name.
        ids: of the images.
    """
    measured: dict[tuple[str, str], dict[str, dict[str, float]]] = {}
    for result in (*found, *floors):
        if result.test.protocol.target != "reference":
            measured[result.model, result.maps] = _by_image(result)
    rows = []
    for result in own:
        agreement = measured.get((result.model, result.maps), {})
        answers = _answers(result.restricted(ids), classifiers[result.model])
        scores = _scores_by_image([one for one in scored if one.model == result.model], ids)
        rows += [row | scores.get(row["id"], {}) | agreement.get(row["id"], {}) for row in answers]
    for result in floors:
        agreement = measured[result.model, result.maps]
        rows += [{"id": name, "model": result.model, "maps": result.maps, **agreement[name]} for name in ids]
    return rows


def _scores_by_image(results: Sequence[EvaluationResult], ids: Sequence[str]) -> dict[str, dict[str, float]]:
    """Of every score that says something of the maps and is a mean over images."""
    values = {
        spec.name: spec.per_image(result.restricted(ids).columns).astype(np.float64)
        for result in results
        for spec in result.test.specs()
        if spec.per_image is not None and spec.of_maps and spec.is_at_least("shown")
    }
    return {name: {score: float(column[place]) for score, column in values.items()} for place, name in enumerate(ids)}


def _by_image(result: EvaluationResult) -> dict[str, dict[str, float]]:
    values = {spec.name: result.columns[spec.name] for spec in result.test.specs()}
    return {
        name: {measure: float(column[place]) for measure, column in values.items()}
        for place, name in enumerate(result.ids)
    }


def _answers(result: EvaluationResult, classifier: Classifier) -> Iterator[Row]:
    columns = result.columns
    right = result.right
    for place, name in enumerate(result.ids):
        label, predicted = int(columns["label"][place]), int(columns["predicted"][place])
        yield {
            "id": name,
            "model": result.model,
            "maps": result.maps,
            "label": classifier.class_name(label) if label >= 0 else None,
            "predicted": classifier.class_name(predicted),
            "probability": float(columns["probability"][place]),
            "right": bool(right[place]),
        }


def _rows(name: str, members: Sequence[EvaluationResult], seed: int, *, split: bool) -> Iterator[Row]:
    first = members[0]
    for outcome in (ALL, *OUTCOMES.values()) if split else (ALL,):
        chosen = [_where(member, outcome) for member in members]
        if not all(places.any() for places in chosen):
            continue
        for spec in first.test.specs():
            values = [_chosen(member, spec.name, places) for member, places in zip(members, chosen, strict=True)]
            clusters = [_chosen(member, PHOTOGRAPH, places) for member, places in zip(members, chosen, strict=True)]
            yield {
                "model": name,
                "maps": first.maps,
                "test": first.test.name,
                "target": first.test.protocol.target,
                "outcome": outcome,
                "measure": spec.name,
                **interval_cells(_mean_interval(values, clusters, seed)),
                "n_images": round(float(np.mean([len(value) for value in values]))),
                "seeds": len(members),
                "uninformative": any(
                    bool(member.columns["coarse"].any()) for member in members if "coarse" in member.columns
                ),
            }


def _where(result: EvaluationResult, outcome: str) -> np.ndarray:
    """(n,) booleans: the images of an outcome."""
    hits = zip(result.right, result.columns["reference_hit"], strict=True)
    return np.array([outcome in (ALL, OUTCOMES[bool(ours), bool(theirs)]) for ours, theirs in hits])


def _chosen(result: EvaluationResult, column: str, places: np.ndarray) -> Any:
    """A column of some images; None where there is none."""
    return result.columns[column][places] if column in result.columns else None


def _mean_interval(values: Sequence[np.ndarray], clusters: Sequence[np.ndarray | None], seed: int) -> Interval:
    def mean(means: Any) -> Any:
        return means["x"]

    if len(values) == 1:
        return bca_interval({"x": values[0]}, mean, clusters=clusters[0], seed=seed)
    # Images of one outcome differ from seed to seed, so their draws cannot be shared there; they are no less images.
    pairs = zip(values, clusters, strict=True)
    return hierarchical_interval(
        [Resamples.of({"x": found}, clusters=together, seed=seed) for found, together in pairs], mean, seed=seed
    )
