"""e2KD: explanation-enhanced knowledge distillation (Parchami-Araghi et al., ECCV 2024)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from distill.methods.alike import check_alike
from distill.methods.base import Method
from distill.methods.options import one_of
from distill.methods.passes import Pass, full_precision
from distill.methods.registry import register
from distill.methods.resizing import to_larger, to_size
from xkd_eval.errors import XkdError

Explanation = Literal["gradcam", "input_x_gradient"]


def explanation_loss(student: Tensor, teacher: Tensor, size: tuple[int, int] | None = None) -> Tensor:
    """One minus the cosine similarity of two explanations (Parchami-Araghi et al., ECCV 2024).

    Args:
        student, teacher: (B, h, w) and (B, h', w').
        size: of the images, to which both are up-sampled first; None takes the larger map's.

    Returns:
        Scalar, the mean over the batch; 0 for explanations equal up to a positive factor.
    """
    check_alike(student, teacher, dimensions=1)
    student, teacher = student[:, None], teacher[:, None]
    if size is None:
        student, teacher = to_larger(student, teacher)
    else:
        student, teacher = to_size(student, size), to_size(teacher, size)
    return 1 - F.cosine_similarity(student.flatten(1), teacher.flatten(1), dim=1).mean()


def grad_cam(network: Pass, classes: Tensor) -> Tensor:
    """GradCAM on the last map (Selvaraju et al., ICCV 2017), differentiable.

    Args:
        network: features, or their source (ConvNeXt's map before its norm), in the graph of the logits.
        classes: (B,).

    Returns:
        (B, h, w), not negative.
    """
    features = network.last_map() if network.source is None else network.source
    gradient = _class_gradient(network.logits, classes, features)
    return F.relu((gradient.mean((2, 3), keepdim=True) * features).sum(1))


def input_x_gradient(network: Pass, classes: Tensor) -> Tensor:
    """Input times gradient (Shrikumar et al., 2016), summed over colours; differentiable by a double backward.

    Args:
        network: images in the graph of the logits.
        classes: (B,).

    Returns:
        (B, H, W).
    """
    images = network.input_images()
    return (_class_gradient(network.logits, classes, images) * images).sum(1)


_EXPLANATIONS: dict[str, Callable[[Pass, Tensor], Tensor]] = {
    "gradcam": grad_cam,
    "input_x_gradient": input_x_gradient,
}


def e2kd_loss(student: Pass, teacher: Pass, explanation: Explanation = "gradcam") -> Tensor:
    """The explanation_loss of the teacher's predicted class (Parchami-Araghi et al., ECCV 2024).

    Args:
        student, teacher: passes whose logits (B, K) are in the graph of their features (B, C, h, w), or of their images
            for "input_x_gradient"; so the teacher runs with gradients too, its parameters frozen. The maps are
            up-sampled to the size of the images, (B, 3, H, W), the larger where the two networks' differ.
        explanation: "gradcam" or "input_x_gradient".

    Returns:
        Scalar, the mean over the batch.
    """
    explain = _EXPLANATIONS[one_of("explanation", explanation, tuple(_EXPLANATIONS))]
    classes = teacher.logits.detach().argmax(1)
    target = full_precision(explain(teacher, classes).detach())
    return explanation_loss(full_precision(explain(student, classes)), target, _image_size(student, teacher))


@register
class E2Kd(Method):
    """The student explains the teacher's predicted class as the teacher does.

    The paper adds it to kd, which is a method of its own here.

    Args:
        explanation: what is compared; by "input_x_gradient" a step costs about a second backward pass.
    """

    name = "e2kd"
    citation = "Parchami-Araghi et al., ECCV 2024"
    requires = frozenset({"logits", "features", "input gradients"})
    takes_mixed = True
    capturable = False

    def __init__(self, explanation: Explanation = "gradcam") -> None:
        super().__init__()
        self.explanation = one_of("explanation", explanation, tuple(_EXPLANATIONS))

    def losses(self, student: Pass, teacher: Pass, labels: Tensor, indices: Tensor | None) -> dict[str, Tensor]:
        """See Method.forward."""
        return {"e2kd": e2kd_loss(student, teacher, self.explanation)}


def _image_size(student: Pass, teacher: Pass) -> tuple[int, int]:
    """The larger height and width; a student that explains by its map may have been observed without its images."""
    own = (teacher if student.images is None else student).input_images().shape[2:]
    other = teacher.input_images().shape[2:]
    return max(own[0], other[0]), max(own[1], other[1])


def _class_gradient(logits: Tensor, classes: Tensor, inputs: Tensor) -> Tensor:
    chosen = logits.gather(1, classes[:, None]).sum()
    gradient = None
    if chosen.requires_grad and inputs.requires_grad:
        (gradient,) = torch.autograd.grad(chosen, inputs, create_graph=True, allow_unused=True)
    if gradient is None:
        raise XkdError(
            "e2kd: a pass has logits that are not computed from its features, or images; take all of one forward"
        )
    return gradient
