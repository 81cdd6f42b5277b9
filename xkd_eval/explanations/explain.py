"""Explain photographs: one class of each, as raw maps with the probability behind them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from xkd_eval.ambient import plain_torch
from xkd_eval.arguments import listed, public
from xkd_eval.bands import Picture
from xkd_eval.classifiers.class_names import class_index
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.loading import load_classifier, open_classifier
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.devices import resolve_device
from xkd_eval.engines.base import Precision
from xkd_eval.engines.eager import check_alone, check_finite, on_device, prepare
from xkd_eval.errors import XkdError
from xkd_eval.explainers import Context, Explainer, as_explainer
from xkd_eval.explainers.holding import check_holds
from xkd_eval.explanations.explanation import Explanation
from xkd_eval.explanations.photos import Photo, as_photo, as_photos, as_pixels, file_name
from xkd_eval.foreign import short

Class = int | str
Classes = Class | Sequence[Class] | np.ndarray | Tensor


@public()
@plain_torch()
def explain(
    model: str | Path | nn.Module | Classifier,
    images: Photo | Iterable[Photo],
    classes: Classes | None = None,
    *,
    explainer: str | Explainer = "cam",
    ids: Sequence[str] | None = None,
    masks: Iterable[np.ndarray] | None = None,
    preprocess: Preprocess | None = None,
    device: str = "auto",
    precision: Precision = "fp32",
) -> Explanation:
    """Explain one class of each image.

    Args:
        model: what `load_classifier` takes, or a Classifier.
        images: one photo or n: paths, PIL images, Bands of the channels that the network takes (see `xkd_eval.bands`),
            (H, W, 3) uint8 arrays, or tensors (3, H, W) or (n, 3, H, W) before
            normalisation: RGB as uint8 in 0 to 255, or as floats in 0 to 1, which are rounded to 8 bits. Of any size:
            they are resized as the model's Preprocess says.
        classes: of each image, or one for all: an index, a name or a WordNet id; None explains the predicted class.
        explainer: a name that `xkd-eval explainers` lists, or an Explainer.
        ids: n names that seed the explainers which draw at random; by default the images' numbers.
        masks: n masks, each (H, W) as its photo: True or 1 is object, 0 background, -1 ignored; for the oracle.
        preprocess: the input convention; None is the model's own.
        device: "auto", "cpu", "cuda", ...
        precision: of the pass that classifies, and of the CAM, which reads it: "fp32", "tf32" or "bf16". Explainers
            that make passes of their own make them in fp32.

    Returns:
        The n maps with their classes and probabilities; `.plot()` draws them over the photos.

    Raises:
        XkdError: an unreadable image, an unknown class, ids or masks of another number, masks of other values or of
            another size than their photos, an explainer that does not hold for the model; a model that draws at random,
            or whose answers depend on the other images.

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
    opened = load_classifier(model) if preprocess is None else open_classifier(model)
    classifier = on_device(opened, resolve_device(device)).private()
    method = as_explainer(explainer)
    check_alone(classifier)
    check_holds(method, classifier)
    given = as_photos(images)
    photos = [as_photo(photo) for photo in given]
    _check_count("ids", ids, len(photos))
    checked = None if masks is None else _masks(masks, photos)
    if preprocess is not None and not isinstance(preprocess, Preprocess):
        raise XkdError(f"preprocess: {short(preprocess)} found; expected an xkd_eval.Preprocess")
    where = classifier.device
    convention = preprocess or classifier.preprocess
    normalised = convention.normalise(as_pixels(photos, convention).to(where))
    logits, features = _classified(classifier, normalised, precision)
    check_finite(logits, classifier.name, "these images")
    predicted = logits.argmax(1)
    explained = predicted if classes is None else _class_indices(classes, len(photos), classifier).to(where)
    context = Context(
        ids=tuple(ids) if ids is not None else tuple(map(str, range(len(photos)))),
        features=features,
        masks=None if checked is None else torch.stack([convention.mask(mask) for mask in checked]).to(where),
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
    if precision == "fp32":
        return classifier(images).float(), None
    prepared = prepare(classifier, images.device, precision, (images.shape[2], images.shape[3]))
    return (prepared(images), None) if prepared.head is None else prepared.forward_with_features(images)


def _class_indices(classes: Classes, count: int, classifier: Classifier) -> Tensor:
    """(count,) int64."""
    given = classes.tolist() if isinstance(classes, np.ndarray | np.generic | Tensor) else classes
    several = listed(given)
    wanted: list[Any] = [given] * count if several is None else several
    _check_count("classes", wanted, count)
    return torch.tensor([class_index(classifier, name) for name in wanted], dtype=torch.int64)


def _masks(masks: Iterable[Any], photos: Sequence[Picture]) -> list[np.ndarray]:
    """(H, W) int8 of each photo: 1 object, 0 background, -1 ignored."""
    given = listed(masks)
    if given is None:
        raise XkdError(f"masks: {short(masks)} found; expected one (H, W) array an image")
    _check_count("masks", given, len(photos))
    return [_mask(mask, photo, place) for place, (mask, photo) in enumerate(zip(given, photos, strict=True))]


def _mask(mask: Any, photo: Picture, place: int) -> np.ndarray:
    values = mask
    if isinstance(mask, Tensor) and mask.layout == torch.strided and mask.device.type != "meta":
        values = (mask.double() if mask.is_floating_point() else mask).detach().cpu().numpy()
    if not isinstance(values, np.ndarray):
        raise XkdError(f"masks: {short(mask)} found for image {place}; expected an (H, W) array")
    if values.shape != (photo.height, photo.width):
        raise XkdError(
            f"masks: that of image {place} has shape {values.shape}, and its photo {(photo.height, photo.width)}; "
            "expected the same"
        )
    if values.dtype.kind not in "biuf" or not np.isin(values, (-1, 0, 1)).all():
        raise XkdError(
            f"masks: that of image {place} has other values than 1 (object), 0 and -1 (ignored); "
            "`mask > 0` makes such a mask"
        )
    return values.astype(np.int8)


def _check_count(argument: str, given: Sequence[object] | None, count: int) -> None:
    if given is not None and len(given) != count:
        raise XkdError(f"{argument}: got {len(given)} for {count} images; expected one an image")
