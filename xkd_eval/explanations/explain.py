"""Explain photographs: one class of each, as raw maps with the probability behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.loading import load_classifier
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.datasets.decode import decode_image
from xkd_eval.devices import resolve_device
from xkd_eval.engines.eager import check_finite, prepare, standing_on
from xkd_eval.errors import XkdError
from xkd_eval.explainers import Context, Explainer, create_explainer

Photo = str | Path | Image.Image | np.ndarray


@dataclass(frozen=True)
class Explanation:
    """Raw maps of n images.

    Attributes:
        maps: (n, h, w) float32 as the explainer returns them, at the size the method works at.
        classes: (n,) int64, the explained class.
        probabilities: (n,) float32, of that class, 0 to 1.
        predicted: (n,) int64.
    """

    maps: np.ndarray
    classes: np.ndarray
    probabilities: np.ndarray
    predicted: np.ndarray


def explain(
    model: str | Path | nn.Module | Classifier,
    images: Sequence[Photo],
    classes: Sequence[int] | None = None,
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
        images: paths, PIL images or (H, W, 3) uint8 arrays; resized as the model's Preprocess says.
        classes: n class indices; None explains the predicted class.
        explainer: a name that `xkd-eval explainers` lists, or an Explainer.
        ids: n names that seed the explainers which draw at random; by default the images' numbers.
        masks: n masks, each (H, W) of its photo, 1 = object; for the oracle.
        preprocess: the input convention; None is the model's own.
        device: "auto", "cpu", "cuda", ...
        precision: of the pass that classifies, and of the CAM, which reads it: "fp32" or "bf16". Explainers that make
            passes of their own make them in fp32.

    Raises:
        XkdError: an unreadable image, a class out of range, an explainer that does not hold for the model.
    """
    classifier = standing_on(load_classifier(model), resolve_device(device))
    method = create_explainer(explainer) if isinstance(explainer, str) else explainer
    method.check(classifier)
    if not len(images):
        raise XkdError("images: none given; expected at least one photo")
    where = next(classifier.parameters(), torch.empty(0)).device
    convention = preprocess or classifier.preprocess
    pixels = torch.stack([convention.pixels(as_photo(image)) for image in images]).to(where)
    normalised = convention.normalise(pixels)
    logits, features = _classified(classifier, normalised, precision)
    check_finite(logits, classifier.name, "these images")
    predicted = logits.argmax(1)
    explained = predicted if classes is None else _checked_classes(classes, len(images), classifier).to(where)
    context = Context(
        ids=tuple(ids) if ids else tuple(map(str, range(len(images)))),
        features=features,
        masks=None if masks is None else torch.stack([convention.mask(mask) for mask in masks]).to(where),
    )
    maps = method(classifier, normalised, explained, context)
    probabilities = logits.softmax(1).gather(1, explained[:, None])[:, 0]
    return Explanation(*(value.detach().cpu().numpy() for value in (maps, explained, probabilities, predicted)))


def as_photo(image: Photo) -> Image.Image:
    """A path, array or PIL image as upright 8-bit RGB."""
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise XkdError(f"images: got a {image.dtype} array of shape {image.shape}; expected (H, W, 3) uint8")
        return Image.fromarray(image)
    if isinstance(image, Image.Image):
        return image.convert("RGB")
    path = Path(image)
    if not path.is_file():
        raise XkdError(f"{path}: no such image file")
    return decode_image(path, str(path))


@torch.no_grad()
def _classified(classifier: Classifier, images: Tensor, precision: str) -> tuple[Tensor, Tensor | None]:
    """(B, K) logits, and (B, C, h, w) features where they are not those of the classifier as it is."""
    if precision not in ("fp32", "bf16"):
        raise XkdError(f"precision: unknown value {precision!r}; expected fp32 or bf16")
    if precision == "fp32":
        return classifier(images).float(), None
    prepared = prepare(classifier, images.device, precision, (images.shape[2], images.shape[3]))
    return (prepared(images), None) if prepared.head is None else prepared.forward_with_features(images)


def _checked_classes(classes: Sequence[int], n_images: int, classifier: Classifier) -> Tensor:
    if len(classes) != n_images:
        raise XkdError(f"classes: got {len(classes)} for {n_images} images; expected one an image")
    wrong = [index for index in classes if not 0 <= index < classifier.num_classes]
    if wrong:
        raise XkdError(f"classes: {wrong[0]} is out of range; {classifier.name} has {classifier.num_classes} classes")
    return torch.tensor(list(classes), dtype=torch.int64)
