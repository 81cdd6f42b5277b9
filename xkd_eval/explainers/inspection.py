"""What `xkd-eval inspect` tells about a model before anything is measured on it."""

from __future__ import annotations

from dataclasses import dataclass

from xkd_eval.ambient import plain_torch
from xkd_eval.classifiers.class_names import class_index_of_wordnet_ids
from xkd_eval.classifiers.classifier import CamHead, Classifier
from xkd_eval.classifiers.outputs import is_binary
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.explainers.holding import refusal

_SHOWN_NAMES = 5


@dataclass(frozen=True)
class Inspection:
    """What `inspect_classifier` has found.

    Attributes:
        name: how tables call it.
        digest: sha256 of its tensors.
        n_parameters: how many numbers it learned.
        head: the CAM head, with the map's size and the proof's error; None where it was refused.
        head_refusal: why.
        preprocess: the input convention.
        input_from: who says it.
        num_classes: K.
        is_of_one_logit: whether the two classes are of one number z an image, as -z/2 and z/2.
        first_class_names: of the first five classes; empty where they have no names.
        has_wordnet_ids: whether the classes are WordNet synsets.
        explainers: names of those that hold.
        refused: name of every other explainer to the reason.
        notes: what a user must know about how it was read, a sentence each.
    """

    name: str
    digest: str
    n_parameters: int
    head: CamHead | None
    head_refusal: str
    preprocess: Preprocess
    input_from: str
    num_classes: int
    is_of_one_logit: bool
    first_class_names: tuple[str, ...]
    has_wordnet_ids: bool
    explainers: tuple[str, ...]
    refused: dict[str, str]
    notes: tuple[str, ...] = ()


@plain_torch()
def inspect_classifier(classifier: Classifier) -> Inspection:
    """What is known about a classifier before any image is seen.

    Each explainer is asked whether it holds, on random images where it needs some. The classifier stays as it is.
    """
    refused = _refused_explainers(classifier.private())
    return Inspection(
        name=classifier.name,
        digest=classifier.digest(),
        n_parameters=classifier.n_parameters,
        head=classifier.head,
        head_refusal=classifier.head_refusal,
        preprocess=classifier.preprocess,
        input_from=str(classifier.input_from),
        num_classes=classifier.num_classes,
        is_of_one_logit=is_binary(classifier.model),
        first_class_names=(classifier.class_names or ())[:_SHOWN_NAMES],
        has_wordnet_ids=bool(class_index_of_wordnet_ids(classifier)),
        explainers=tuple(name for name, reason in refused.items() if not reason),
        refused={name: reason for name, reason in refused.items() if reason},
        notes=classifier.notes,
    )


def _refused_explainers(classifier: Classifier) -> dict[str, str]:
    """Every explainer's name to the reason why it does not hold, empty where it does."""
    from xkd_eval.explainers import create_explainer, list_explainers

    return {info.name: refusal(create_explainer(info.name), classifier) for info in list_explainers()}
