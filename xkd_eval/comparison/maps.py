"""Do two models' maps of the same images agree, for the class each predicts and for the reference's class?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.comparison.subjects import Subject, common_ids, interval_cells
from xkd_eval.datasets import ImageDataset
from xkd_eval.evaluations.agreement import COARSEST, map_agreement
from xkd_eval.explainers.stored import StoredMaps
from xkd_eval.explanation import explain
from xkd_eval.paired import bca_interval

_AT_ONCE = 64
_OUTCOMES = {
    (True, True): "both right",
    (True, False): "model only",
    (False, True): "reference only",
    (False, False): "both wrong",
}


def agreement_rows(
    classifiers: Mapping[str, Classifier],
    subjects: Sequence[Subject],
    dataset: ImageDataset,
    maps: Callable[[str], Path],
    explainer: str,
    seed: int,
) -> list[dict[str, Any]]:
    """The rows of Comparison.agreement.

    Args:
        classifiers: by label, the reference first.
        subjects: their perturbation tests, in the same order.
        dataset: of these tests.
        maps: label -> the folder of the maps that the tests saved, of each model's predicted class.
        explainer: that made them, for the maps of the reference's class.
        seed: of the intervals.
    """
    ids = common_ids(subjects)
    reference, *others = (subject.restricted(ids) for subject in subjects)
    target = reference.rows["explained"]
    place_of = {identifier: place for place, identifier in enumerate(dataset.ids)}
    places = [place_of[identifier] for identifier in ids]
    rows: list[dict[str, Any]] = []
    for other in others:
        size = classifiers[other.label].preprocess.size
        outcomes = _outcomes(other, reference)
        ours, theirs = (_read(StoredMaps(maps(subject.label)), ids) for subject in (other, reference))
        rows += _rows(other.label, "predicted", _measured(ours, theirs, size), outcomes, seed)
        if _share_classes(classifiers[other.label], classifiers[reference.label]):
            ours, theirs = (
                _explained(classifiers[subject.label], dataset, places, target, explainer)
                for subject in (other, reference)
            )
            rows += _rows(other.label, "reference's", _measured(ours, theirs, size), outcomes, seed)
    return rows


def _outcomes(model: Subject, reference: Subject) -> np.ndarray:
    hits = zip(model.rows["clean_hit"], reference.rows["clean_hit"], strict=True)
    return np.array([_OUTCOMES[bool(ours), bool(theirs)] for ours, theirs in hits])


def _share_classes(model: Classifier, reference: Classifier) -> bool:
    """Whether an index means the same class to both."""
    if model.class_names is not None and reference.class_names is not None:
        return model.class_names == reference.class_names
    return model.num_classes == reference.num_classes


def _read(stored: StoredMaps, ids: Sequence[str]) -> Iterator[torch.Tensor]:
    for start in range(0, len(ids), _AT_ONCE):
        yield torch.from_numpy(np.stack([stored.load(identifier) for identifier in ids[start : start + _AT_ONCE]]))


def _explained(
    classifier: Classifier, dataset: ImageDataset, places: Sequence[int], classes: np.ndarray, explainer: str
) -> Iterator[torch.Tensor]:
    for start in range(0, len(places), _AT_ONCE):
        chosen = places[start : start + _AT_ONCE]
        found = explain(
            classifier,
            [dataset.load(place).image for place in chosen],
            classes[start : start + _AT_ONCE].tolist(),
            explainer=explainer,
            ids=[dataset.ids[place] for place in chosen],
        )
        yield torch.from_numpy(found.maps)


def _measured(
    maps: Iterator[torch.Tensor], others: Iterator[torch.Tensor], size: tuple[int, int]
) -> dict[str, np.ndarray]:
    """Measure -> (n,), and whether a map was too coarse to say anything."""
    parts, coarse = [], False
    for ours, theirs in zip(maps, others, strict=True):
        parts.append(map_agreement(ours, theirs, size))
        coarse |= min(*ours.shape[1:], *theirs.shape[1:]) < COARSEST
    measured = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return {**measured, "uninformative": np.array(coarse)}


def _rows(
    label: str, of_class: str, measured: dict[str, np.ndarray], outcomes: np.ndarray, seed: int
) -> Iterator[dict[str, Any]]:
    coarse = bool(measured["uninformative"])
    for outcome in ("all", *_OUTCOMES.values()):
        chosen = np.full(len(outcomes), True) if outcome == "all" else outcomes == outcome
        if not chosen.any():
            continue
        for measure, values in measured.items():
            if measure == "uninformative":
                continue
            interval = bca_interval({"x": values[chosen]}, lambda means: means["x"], seed=seed)
            yield {
                "model": label,
                "of_class": of_class,
                "outcome": outcome,
                "measure": measure,
                **interval_cells(interval),
                "n_images": int(chosen.sum()),
                "uninformative": coarse,
            }
