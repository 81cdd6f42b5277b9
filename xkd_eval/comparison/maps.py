"""Do two models' maps of the same images agree, for the class each predicts and for the reference's class?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.comparison.runs import Runs
from xkd_eval.comparison.subjects import Subject, common_ids, interval_cells
from xkd_eval.evaluations.agreement import COARSEST, map_agreement
from xkd_eval.explainers import create_explainer
from xkd_eval.explainers.stored import StoredMaps
from xkd_eval.explanations.explain import explain
from xkd_eval.statistics.paired import Resamples, bca_interval, hierarchical_interval

PREDICTED = "predicted"
LABELLED = "labelled"
REFERENCES = "reference's"

_AT_ONCE = 64
OUTCOMES = {
    (True, True): "both right",
    (True, False): "model only",
    (False, True): "reference only",
    (False, False): "both wrong",
}
"""Whether the model and the reference are right."""


@dataclass(frozen=True)
class Agreement:
    """One model's maps, or a floor's, held against the reference's on every image.

    Attributes:
        label: the model's.
        group: see `Entrant`.
        maps: the explainer.
        of_class: the class explained: PREDICTED by each, LABELLED, or the REFERENCES prediction.
        measures: name -> (n,).
        outcomes: (n,) of OUTCOMES.
        uninformative: a map was too coarse to say much about place.
        is_floor: the maps are a floor's or the ceiling's, and the model is the reference itself.
    """

    label: str
    group: str
    maps: str
    of_class: str
    measures: Mapping[str, np.ndarray]
    outcomes: np.ndarray
    uninformative: bool
    is_floor: bool = False


def agreements(runs: Runs, subjects: Sequence[Subject], groups: Mapping[str, str]) -> Iterator[Agreement]:
    """Every other model with the reference, and the floors that stand beside them.

    Args:
        runs: finished, with the maps that they left.
        subjects: perturbation tests on the models' own maps, the reference first.
        groups: label -> group.
    """
    ids = common_ids(subjects)
    reference, *others = (subject.restricted(ids) for subject in subjects)
    classifiers = runs.classifiers
    own_class = PREDICTED if reference.description["protocol"]["explained"] == "predicted" else LABELLED
    for other in others:
        outcomes = _outcomes(other, reference)
        size = preprocess_of(other.description).size
        found = {own_class: _stored(runs, other.label, None, ids)}
        # Of the labelled class, all maps are of one class already.
        if own_class == PREDICTED and _share_classes(classifiers[other.label], classifiers[reference.label]):
            found[REFERENCES] = _explained(runs, other, reference.rows["explained"])
        for of_class, ours in found.items():
            measures, coarse = _measured(ours, _stored(runs, reference.label, None, ids), size)
            yield Agreement(
                other.label, groups[other.label], runs.explainer, of_class, measures, outcomes, uninformative=coarse
            )
    right = np.where(reference.rows["clean_hit"].astype(bool), OUTCOMES[True, True], OUTCOMES[False, False])
    size = preprocess_of(reference.description).size
    for floor in runs.floor_names("perturbation"):
        ours, theirs = (_stored(runs, reference.label, name, ids) for name in (floor, None))
        measures, coarse = _measured(ours, theirs, size)
        label = reference.label
        yield Agreement(label, groups[label], floor, own_class, measures, right, uninformative=coarse, is_floor=True)


def agreement_rows(found: Sequence[Agreement], seed: int) -> list[dict[str, Any]]:
    """The rows of Comparison.agreement: means over images, and over seeds where there are several."""
    grouped: dict[tuple[str, str, str], list[Agreement]] = {}
    for agreement in found:
        grouped.setdefault((agreement.group, agreement.maps, agreement.of_class), []).append(agreement)
    return [row for (name, _, _), members in grouped.items() for row in _rows(name, members, seed)]


def image_rows(
    found: Sequence[Agreement], subjects: Sequence[Subject], classifiers: Mapping[str, Classifier]
) -> list[dict[str, Any]]:
    """The rows of Comparison.images: one an image and kind of maps, with the agreement of these maps."""
    ids = common_ids(subjects)
    own = subjects[0].maps
    rows = [row for subject in subjects for row in _answers(subject.restricted(ids), classifiers[subject.label])]
    measured = {
        (agreement.label, agreement.maps, identifier): {
            name: float(values[place]) for name, values in agreement.measures.items()
        }
        for agreement in found
        if agreement.of_class != REFERENCES
        for place, identifier in enumerate(ids)
    }
    floors = [
        {"id": identifier, "model": label, "maps": maps, **values}
        for (label, maps, identifier), values in measured.items()
        if maps != own
    ]
    return [row | measured.get((row["model"], own, row["id"]), {}) for row in rows] + floors


def _answers(subject: Subject, classifier: Classifier) -> Iterator[dict[str, Any]]:
    for place, identifier in enumerate(subject.ids):
        label = int(subject.rows["label"][place])
        yield {
            "id": identifier,
            "model": subject.label,
            "maps": subject.maps,
            "label": classifier.class_name(label) if label >= 0 else None,
            "predicted": classifier.class_name(int(subject.rows["predicted"][place])),
            "probability": float(subject.rows["clean_probability"][place]),
            "right": bool(subject.rows["clean_hit"][place]),
        }


def preprocess_of(description: Mapping[str, Any]) -> Preprocess:
    """The input convention under which a model was scored, as protocol.json holds it."""
    return Preprocess.from_dict(description["model"]["preprocess"])


def _outcomes(model: Subject, reference: Subject) -> np.ndarray:
    hits = zip(model.rows["clean_hit"], reference.rows["clean_hit"], strict=True)
    return np.array([OUTCOMES[bool(ours), bool(theirs)] for ours, theirs in hits])


def _share_classes(model: Classifier, reference: Classifier) -> bool:
    """Whether an index means the same class to both."""
    if model.class_names is not None and reference.class_names is not None:
        return model.class_names == reference.class_names
    return model.num_classes == reference.num_classes


def _stored(runs: Runs, label: str, explainer: str | None, ids: Sequence[str]) -> Iterator[torch.Tensor]:
    stored = StoredMaps(runs.maps(label, explainer))
    for start in range(0, len(ids), _AT_ONCE):
        yield torch.from_numpy(np.stack([stored.load(identifier) for identifier in ids[start : start + _AT_ONCE]]))


def _explained(runs: Runs, subject: Subject, classes: np.ndarray) -> Iterator[torch.Tensor]:
    """Maps of given classes, made as those of the subject's test were."""
    dataset, ids = runs.sets["perturbation"], subject.ids
    classifier, convention = runs.classifiers[subject.label], preprocess_of(subject.description)
    name, options = subject.description["explainer"]["name"], dict(subject.description["explainer"])
    explainer = create_explainer(name, **{key: value for key, value in options.items() if key != "name"})
    place_of = {identifier: place for place, identifier in enumerate(dataset.ids)}
    for start in range(0, len(ids), _AT_ONCE):
        chosen = ids[start : start + _AT_ONCE]
        found = explain(
            classifier,
            [dataset.load(place_of[identifier]).image for identifier in chosen],
            classes[start : start + _AT_ONCE].tolist(),
            explainer=explainer,
            ids=chosen,
            preprocess=convention,
            device=runs.device,
        )
        yield torch.from_numpy(found.maps)


def _measured(
    maps: Iterator[torch.Tensor], others: Iterator[torch.Tensor], size: tuple[int, int]
) -> tuple[dict[str, np.ndarray], bool]:
    """Measure -> (n,), and whether a map was too coarse to say much."""
    parts, coarse = [], False
    for ours, theirs in zip(maps, others, strict=True):
        parts.append(map_agreement(ours, theirs, size))
        coarse |= min(*ours.shape[1:], *theirs.shape[1:]) < COARSEST
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, coarse


def _rows(name: str, members: Sequence[Agreement], seed: int) -> Iterator[dict[str, Any]]:
    first = members[0]
    # A floor has no answers of its own, by which images could be split.
    outcomes = ("all", *OUTCOMES.values()) if not first.is_floor else ("all",)
    for outcome in outcomes:
        chosen = [np.full(len(m.outcomes), True) if outcome == "all" else m.outcomes == outcome for m in members]
        if not all(places.any() for places in chosen):
            continue
        for measure in first.measures:
            values = [member.measures[measure][places] for member, places in zip(members, chosen, strict=True)]
            yield {
                "model": name,
                "maps": first.maps,
                "of_class": first.of_class,
                "outcome": outcome,
                "measure": measure,
                **interval_cells(_mean_interval(values, seed)),
                "n_images": round(float(np.mean([len(found) for found in values]))),
                "seeds": len(members),
                "uninformative": any(member.uninformative for member in members),
            }


def _mean_interval(values: Sequence[np.ndarray], seed: int) -> Any:
    if len(values) == 1:
        return bca_interval({"x": values[0]}, lambda means: means["x"], seed=seed)
    # Images of one outcome differ from seed to seed, so their draws cannot be shared there; they are no less images.
    return hierarchical_interval(
        [Resamples.of({"x": found}, seed=seed) for found in values], lambda means: means["x"], seed=seed
    )
