"""What every call of an explainer is owed: a classifier of its own, torch as it was imported, a checked result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from xkd_eval.ambient import plain_torch
from xkd_eval.classifiers.arguments import check_classes, check_images, described_values
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.errors import ExplainerError, XkdError
from xkd_eval.registry import described, place_of

Method = Callable[..., Any]


def guarded_call(method: Method) -> Method:
    """An explainer's `__call__` within what it is owed; see Explainer.__call__."""

    @wraps(method)
    def explained(self: Any, classifier: Any, images: Any, classes: Any, context: Any = None) -> Tensor:
        _check_classifier(classifier)
        images = check_images(images, classifier.preprocess.channels)
        classes = check_classes(classes, (len(images),), classifier.num_classes).to(images.device)
        with _owed(self.name):
            # Clones, because a method may write to what it is given, and gradients pass no tensor of inference mode.
            private = classifier.private()
            before = _writes(private)
            maps = method(self, private, images.detach().clone(), classes.clone(), context)
            if _writes(private) != before:
                raise ExplainerError(
                    f"explainer '{self.name}': it wrote to the classifier's weights, which its caller has too; "
                    "load the classifier anew, and let the explainer write to a copy.deepcopy of it"
                )
            return _checked(self.name, maps, images)

    return explained


def guarded_check(method: Method) -> Method:
    """An explainer's `check` within what it is owed."""

    @wraps(method)
    def checked(self: Any, classifier: Any) -> None:
        _check_classifier(classifier)
        with _owed(self.name):
            method(self, classifier.private())

    return checked


@contextmanager
def _owed(name: str) -> Iterator[None]:
    try:
        with plain_torch(), torch.inference_mode(False), torch.enable_grad():
            yield
    except XkdError:
        raise
    except Exception as error:  # an explainer of another package may raise anything
        raise ExplainerError(
            f"explainer '{name}': it failed ({described(error)}, in {place_of(error)}); mend it, or use another"
        ) from error


def _checked(name: str, maps: Any, images: Tensor) -> Tensor:
    """What an explainer returned as (B, h, w) float32 on the images' device, without gradient and with its own memory.

    Values of double precision that float32 does not hold are refused; other numbers are the author's to check.
    """
    expected = f"expected floats ({len(images)}, h, w), a map an image"
    if not isinstance(maps, Tensor):
        raise ExplainerError(f"explainer '{name}': it returned {described_values(maps)}; {expected}, as a tensor")
    if maps.layout != torch.strided or maps.is_nested or maps.device.type == "meta":
        raise ExplainerError(f"explainer '{name}': it returned a tensor {maps.layout} on {maps.device}; {expected}")
    if not maps.is_floating_point() or maps.ndim != 3 or len(maps) != len(images) or 0 in maps.shape:
        raise ExplainerError(f"explainer '{name}': it returned {described_values(maps)}; {expected}")
    made = maps.detach().as_subclass(Tensor).to(images.device, torch.float32, copy=True)
    if maps.dtype == torch.float64 and bool((maps.isfinite() != made.isfinite().to(maps.device)).any()):
        raise ExplainerError(f"explainer '{name}': it returned values beyond what float32 holds; scale its maps")
    return made


def _writes(classifier: Classifier) -> list[int]:
    """How often each parameter was written to, but for what is done through `.data`."""
    return [parameter._version for parameter in classifier.parameters() if not parameter.is_inference()]


def _check_classifier(classifier: Any) -> None:
    if not isinstance(classifier, Classifier):
        raise XkdError(
            f"classifier: a {type(classifier).__name__} found; expected a Classifier, which load_classifier makes"
        )
