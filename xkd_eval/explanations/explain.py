"""Explain photographs: one class of each, as raw maps with the probability behind them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from xkd_eval.ambient import plain_torch
from xkd_eval.classifiers.class_names import class_index
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.loading import load_classifier
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.devices import resolve_device
from xkd_eval.engines.eager import check_finite, on_device, prepare
from xkd_eval.errors import XkdError
from xkd_eval.explainers import Context, Explainer, as_explainer
from xkd_eval.explanations.explanation import Explanation
from xkd_eval.explanations.photos import Photo, as_photo, file_name, listed

Class = int | str
Classes = Class | Sequence[Class] | np.ndarray | Tensor


@plain_torch()
def explain(
    model: str | Path | nn.Module | Classifier,
    images: Photo | Sequence[Photo],
    classes: Classes | None = None,
    *,
    explainer: str | Explainer = "cam",
    ids: Sequence[str] | None = None,
    masks: Sequence[np.ndarray] | None = None,
    preprocess: Preprocess | None = None,
    device: str = "auto",
    precision: str = "fp32",
) -> Explanation:
    """Explain one class of each image.

    Args:
        model: what `load_classifier` takes, or a Classifier.
        images: one photo or n: paths, PIL images, (H, W, 3) uint8 arrays, or tensors (3, H, W) or (n, 3, H, W) before
            normalisation: RGB as uint8 in 0 to 255, or as floats in 0 to 1, which are rounded to 8 bits. Of any size:
            they are resized as the model's Preprocess says.
        classes: of each image, or one for all: an index, a name or a WordNet id; None explains the predicted class.
        explainer: a name that `xkd-eval explainers` lists, or an Explainer.
        ids: n names that seed the explainers which draw at random; by default the images' numbers.
        masks: n masks, each (H, W) of its photo, 1 = object; for the oracle.
        preprocess: the input convention; None is the model's own.
        device: "auto", "cpu", "cuda", ...
        precision: of the pass that classifies, and of the CAM, which reads it: "fp32" or "bf16". Explainers that make
            passes of their own make them in fp32.

    Returns:
        The n maps with their classes and probabilities; `.plot()` draws them over the photos.

    Raises:
        XkdError: an unreadable image, an unknown class, ids or masks of another number, an explainer that does not
            hold for the model.

    Example:
        >>> import numpy as np
        >>> from xkd_eval import explain, load_classifier, open_dataset
        >>> teacher = load_classifier("embedded/teacher")
        >>> photo = open_dataset("embedded").load(3).image
        >>> found = explain(teacher, [photo, photo], ["three", "eight"])
        >>> found.maps.shape, found.classes.tolist()
        ((2, 10, 10), [3, 8])
        >>> explain(teacher, np.asarray(photo)).predicted
        array([3])
    """
    classifier = on_device(load_classifier(model), resolve_device(device)).private()
    method = as_explainer(explainer)
    method.check(classifier)
    given = listed(images)
    photos = [as_photo(photo) for photo in given]
    _check_count("ids", ids, len(photos))
    _check_count("masks", masks, len(photos))
    where = next(classifier.parameters(), torch.empty(0)).device
    convention = preprocess or classifier.preprocess
    normalised = convention.normalise(torch.stack([convention.pixels(photo) for photo in photos]).to(where))
    logits, features = _classified(classifier, normalised, precision)
    check_finite(logits, classifier.name, "these images")
    predicted = logits.argmax(1)
    explained = predicted if classes is None else _class_indices(classes, len(photos), classifier).to(where)
    context = Context(
        ids=tuple(ids) if ids is not None else tuple(map(str, range(len(photos)))),
        features=features,
        masks=None if masks is None else torch.stack([convention.mask(mask) for mask in masks]).to(where),
    )
    maps = method(classifier, normalised, explained, context)
    probabilities = logits.softmax(1).gather(1, explained[:, None])[:, 0]
    return Explanation(
        maps=maps.detach().cpu().numpy(),
        classes=explained.cpu().numpy(),
        probabilities=probabilities.detach().cpu().numpy(),
        predicted=predicted.cpu().numpy(),
        photos=tuple(photos),
        names=tuple(file_name(photo) for photo in given),
        regions=tuple(convention.region(photo.size) for photo in photos),
        class_names=classifier.class_names,
        model=classifier.name,
        explainer=method.name,
    )


@torch.no_grad()
def _classified(classifier: Classifier, images: Tensor, precision: str) -> tuple[Tensor, Tensor | None]:
    """(B, K) logits, and (B, C, h, w) features where they are not those of the classifier as it is."""
    if precision not in ("fp32", "bf16"):
        raise XkdError(f"precision: unknown value {precision!r}; expected fp32 or bf16")
    if precision == "fp32":
        return classifier(images).float(), None
    prepared = prepare(classifier, images.device, precision, (images.shape[2], images.shape[3]))
    return (prepared(images), None) if prepared.head is None else prepared.forward_with_features(images)


def _class_indices(classes: Classes, count: int, classifier: Classifier) -> Tensor:
    """(count,) int64."""
    given = classes.tolist() if isinstance(classes, np.ndarray | np.generic | Tensor) else classes
    wanted = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else [given] * count
    _check_count("classes", wanted, count)
    return torch.tensor([class_index(classifier, name) for name in wanted], dtype=torch.int64)


def _check_count(argument: str, given: Sequence[object] | None, count: int) -> None:
    if given is not None and len(given) != count:
        raise XkdError(f"{argument}: got {len(given)} for {count} images; expected one an image")
