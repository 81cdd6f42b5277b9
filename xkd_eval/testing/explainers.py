"""The contract of an explainer."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import random
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from xkd_eval.arguments import public
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.errors import ExplainerError
from xkd_eval.explainers import Context, Explainer, as_explainer
from xkd_eval.testing.networks import small_classifier

_BATCH = 3


@public()
def check_explainer(explainer: str | Explainer, classifier: Classifier | None = None) -> None:
    """Check what every evaluation relies on in an explainer.

    It is hashable and equal to its copy, its parameters are plain values, and it holds for the classifier. Its maps are
    floats (B, h, w), finite; each depends on its own image alone, and without `reads_size` is the same whatever size it
    will be scored at, with `model_free` whatever network and class. Its classifier and the random generators are left
    as they were, and nothing is printed.

    Args:
        explainer: what `create_explainer` takes, or an Explainer.
        classifier: one that the explainer holds for; None is a small convolutional network of 5 classes at 32x32.

    Raises:
        AssertionError: something is violated; the message says what.
        XkdError: no explainer of that name.
    """
    method = as_explainer(explainer)
    # Private already, it is what the explainer is given, so that what is left in it is seen.
    classifier = (small_classifier() if classifier is None else classifier).private()
    _check_identity(method)
    try:
        method.check(classifier)
    except ExplainerError as error:
        _fail(method, f"does not hold for {classifier.name}; pass a classifier that it holds for ({error})")
    images, classes, context = _batch(classifier)
    # On copies, because a first call imports what it needs, and imports may draw and warn.
    try:
        first = method(copy.deepcopy(classifier), images, classes, context)
    except ExplainerError as error:
        _fail(method, str(error))
    if not bool(torch.isfinite(first).all()):
        _fail(method, "maps hold NaN or infinite values")

    with _undisturbed(method, classifier):
        maps = method(classifier, images, classes, context)
    _check_equal(method, maps, first, "a second call gives another map")
    for position in range(_BATCH):
        one = slice(position, position + 1)
        alone = method(classifier, images[one], classes[one], _part(context, one))
        _check_equal(method, alone[0], maps[position], "an image alone gives another map than the image in a batch")

    if not method.reads_size:
        sized = method(classifier, images, classes, replace(context, size=(16, 20)))
        _check_equal(method, sized, maps, "`context.size` changes the map; set reads_size = True")
    if method.model_free:
        _check_model_free(method, classifier, images, classes, context, maps)


def _batch(classifier: Classifier) -> tuple[Tensor, Tensor, Context]:
    """Three images with regions, normalised values; three classes; ids, masks and features."""
    height, width = classifier.preprocess.size
    parameter = next(classifier.parameters(), torch.empty(0))
    noise = torch.randn(_BATCH, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    images = F.interpolate(noise, (height, width), mode="bilinear").to(parameter.device, torch.float32)
    classes = torch.arange(_BATCH, device=images.device) * 2 % classifier.num_classes
    places = torch.arange(height * width, device=images.device).reshape(height, width)
    masks = torch.stack([places % (position + 2) - 1 for position in range(_BATCH)]).clamp(max=1).to(torch.int8)
    features = None
    if classifier.head is not None:
        with torch.no_grad():
            features = classifier.forward_with_features(images).features
    return images, classes, Context(ids=tuple("abc"), features=features, masks=masks)


def _part(context: Context, part: slice) -> Context:
    assert context.ids is not None and context.masks is not None
    features = None if context.features is None else context.features[part]
    return Context(ids=context.ids[part], features=features, masks=context.masks[part])


def _check_identity(method: Explainer) -> None:
    twin = replace(method)
    try:
        same = twin == method and hash(twin) == hash(method)
    except TypeError as error:
        raise AssertionError(f"{method.name}: it cannot be hashed ({error}); take tuples for lists") from error
    if not same:
        _fail(method, "its copy is not equal to it; leave __eq__ and __hash__ to @dataclass(frozen=True)")
    try:
        json.dumps(method.parameters())
    except TypeError as error:
        raise AssertionError(f"{method.name}: parameters() holds what JSON cannot say ({error})") from error


def _check_equal(method: Explainer, found: Tensor, expected: Tensor, violated: str) -> None:
    tolerance = 1e-5 * float(expected.abs().max())
    if found.shape != expected.shape:
        _fail(method, f"{violated}: of shape {tuple(found.shape)} instead of {tuple(expected.shape)}")
    if not torch.allclose(found, expected, rtol=1e-5, atol=tolerance):
        _fail(method, f"{violated}: values differ by up to {float((found - expected).abs().max()):.2g}")


def _check_model_free(
    method: Explainer, classifier: Classifier, images: Tensor, classes: Tensor, context: Context, maps: Tensor
) -> None:
    flipped = copy.deepcopy(classifier)
    with torch.no_grad():
        for parameter in flipped.parameters():
            parameter.neg_()
    others = (classes + 1) % classifier.num_classes
    elsewhere = method(flipped, images, others, replace(context, features=None))
    _check_equal(method, elsewhere, maps, "it is model_free, and another network and class give another map")


@contextlib.contextmanager
def _undisturbed(method: Explainer, classifier: Classifier) -> Iterator[None]:
    """What a call must leave alone: its classifier, the random generators, the console."""
    before, printed = _state(classifier), io.StringIO()
    with (
        warnings.catch_warnings(record=True) as caught,
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
    ):
        warnings.simplefilter("always")
        yield
    for what, value in _state(classifier).items():
        if value != before[what]:
            _fail(method, f"it changes {what}")
    if said := printed.getvalue().strip():
        _fail(method, f"it prints {said.splitlines()[0]!r}")
    if remarks := [str(warning.message) for warning in caught if warning.category is UserWarning]:
        _fail(method, f"it warns {remarks[0]!r}")


def _state(classifier: Classifier) -> dict[str, Any]:
    modules = list(classifier.modules())
    return {
        "the classifier's modules": [str(module) for module in modules],
        "the classifier's weights or buffers": classifier.digest(),
        "whether the classifier is in training mode": [module.training for module in modules],
        "which parameters require a gradient": [parameter.requires_grad for parameter in classifier.parameters()],
        "the parameters' gradients": [parameter.grad is None for parameter in classifier.parameters()],
        "the hooks of the classifier's modules": [
            (len(module._forward_hooks), len(module._forward_pre_hooks), len(module._backward_hooks))
            for module in modules
        ],
        "torch's random generator": torch.get_rng_state().tolist(),
        "NumPy's random generator": str(np.random.get_state(legacy=False)),
        "Python's random generator": random.getstate(),
    }


def _fail(method: Explainer, violated: str) -> NoReturn:
    raise AssertionError(f"{method.name}: {violated}")
