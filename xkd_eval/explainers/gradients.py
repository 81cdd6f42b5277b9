"""Whether a gradient passes from a classifier's logits to its image, which is asked before a method needs one."""

from __future__ import annotations

import torch

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.proof.probes import random_images
from xkd_eval.errors import ExplainerError
from xkd_eval.foreign import reason

_KNOWN, _SEED = "why no gradient passes", 7


def check_gradients(explainer: str, classifier: Classifier) -> None:
    """Raise ExplainerError unless the gradient of a logit at a random image is finite and not zero.

    Args:
        explainer: the method's name, for the message.
        classifier: a private one; what is found is kept for its original.
    """
    if _KNOWN not in classifier.known:
        classifier.known[_KNOWN] = why_no_gradient(classifier)
    if classifier.known[_KNOWN]:
        raise ExplainerError(
            f"explainer '{explainer}': it needs the gradient of a logit at the image, and {classifier.name} "
            f"{classifier.known[_KNOWN]}"
        )


def why_no_gradient(classifier: Classifier) -> str:
    """What follows the classifier's name where no gradient passes; "" where one does."""
    images = random_images(classifier.preprocess, _SEED).to(classifier.device).requires_grad_()
    logits = classifier.model(images)
    if not logits.requires_grad:
        return "gives none: what it computes is not recorded (whole numbers, or an engine other than torch)"
    try:
        (gradient,) = torch.autograd.grad(logits[0].max(), images, allow_unused=True)
    except (RuntimeError, NotImplementedError) as error:
        return f"gives none ({reason(error)})"
    if gradient is None or not bool(gradient.any()):
        return "gives one that is zero everywhere"
    return "" if bool(gradient.isfinite().all()) else "gives one that is not finite"
