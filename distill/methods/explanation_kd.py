"""Explanation KD: the student explains itself as the teacher does, by any explainer that can be differentiated."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distill.methods.alike import check_alike
from distill.methods.base import Method
from distill.methods.explaining import Explaining
from distill.methods.kd import kd_loss_per_row
from distill.methods.options import one_of, positive
from distill.methods.passes import Pass
from distill.methods.registry import register
from distill.methods.resizing import to_larger
from xkd_eval.errors import XkdError
from xkd_eval.explainers import Explainer, create_explainer
from xkd_eval.explainers.holding import refusal
from xkd_eval.explainers.named import differentiable_explainers, may_be_differentiated

Distance = Literal["cosine", "correlation", "l2", "kl"]
_DISTANCES = ("cosine", "correlation", "l2", "kl")
_TRIED = 2  # images, the fewest that batch norm takes


def explanation_kd_loss(
    student_maps: Tensor, teacher_maps: Tensor, distance: Distance = "cosine", temperature: float = 1.0
) -> Tensor:
    """A distance of two networks' explanations, place by place (after Parchami-Araghi et al., ECCV 2024).

    Args:
        student_maps, teacher_maps: (B, h, w) and (B, h', w'); the smaller is up-sampled to the larger.
        distance: "cosine" is one minus the cosine similarity, which no positive factor changes; "correlation" one minus
            Pearson's, which no shift changes either; "l2" the mean squared difference of the maps as they are; "kl"
            T^2 KL(teacher || student) of their softmax over places.
        temperature: T of "kl".

    Returns:
        Scalar, the mean over the batch; 0 for equal maps.
    """
    one_of("distance", distance, _DISTANCES)
    check_alike(student_maps, teacher_maps, dimensions=1)
    student, teacher = (maps.flatten(1) for maps in to_larger(student_maps[:, None], teacher_maps[:, None]))
    if distance == "l2":
        return F.mse_loss(student, teacher)
    if distance == "kl":
        return kd_loss_per_row(student, teacher, temperature).mean()
    if distance == "correlation":
        student, teacher = (maps - maps.mean(1, keepdim=True) for maps in (student, teacher))
    return 1 - F.cosine_similarity(student, teacher, dim=1).mean()


@register
class ExplanationKd(Method):
    """Match an explainer's map of one class of each image, the teacher's prediction by default.

    Each network is run once more, the student as it trains, and differentiated at its map or image: beside the step one
    forward and two or three backward passes of the student, and one of each of the teacher. By "cam", which is read off
    the features of the pass, it costs next to nothing.

    Args:
        explainer: what `create_explainer` takes, "gradcam" or "layercam:relu=false"; one of another package, if its map
            has a gradient at the network's weights.
        distance: see explanation_kd_loss.
        temperature: T of "kl".
        target: the class that is explained, the one that the "teacher" predicts or the image's "label".
    """

    name = "explanation_kd"
    citation = "after Parchami-Araghi et al., ECCV 2024, by any explainer"
    requires = frozenset({"logits", "explanations"})
    takes_mixed = True
    capturable = False

    def __init__(
        self,
        explainer: str = "gradcam",
        distance: Distance = "cosine",
        temperature: float = 1.0,
        target: Literal["teacher", "label"] = "teacher",
    ) -> None:
        super().__init__()
        self.explainer = _explainer_of(explainer)
        self.distance: Distance = one_of("distance", distance, _DISTANCES)
        self.temperature = positive("temperature", temperature)
        self.target = one_of("target", target, ("teacher", "label"))
        self.takes_mixed = target == "teacher"
        if self.explainer.reads_features:
            self.requires = self.requires | {"features"}  # type: ignore[misc]

    def losses(self, student: Pass, teacher: Pass, labels: Tensor, indices: Tensor | None) -> dict[str, Tensor]:
        """See Method.forward."""
        classes = labels if self.target == "label" else teacher.logits.detach().argmax(1)
        own, other = (network.explained(self.explainer, classes) for network in (student, teacher))
        return {"explanation_kd": explanation_kd_loss(own, other.detach(), self.distance, self.temperature)}

    def _build(self, student: Pass, teacher: Pass, dataset_size: int) -> None:
        for whose, network in (("student", student), ("teacher", teacher)):
            if why := refusal(self.explainer, network.explaining_network().classifier):
                raise XkdError(f"{whose}: {why}")
        self._check_gradient(student.explaining_network())

    def _check_gradient(self, student: Explaining) -> None:
        """Refuse an explainer whose map does not depend on the student's weights, as far as it knows."""
        few = Explaining(student.classifier, student.images[:_TRIED], student.places, student.done)
        maps = few(self.explainer, torch.zeros(len(few.images), dtype=torch.int64, device=few.images.device))
        weights = [parameter for parameter in student.classifier.parameters() if parameter.requires_grad]
        if not weights or not _reaches(maps, weights):
            raise _undifferentiable(self.explainer.name)


def _explainer_of(given: str) -> Explainer:
    if not isinstance(given, str):
        raise XkdError(f"explainer: a {type(given).__name__} found; expected a name, such as 'gradcam'")
    explainer = create_explainer(given)
    if not may_be_differentiated(type(explainer)):
        raise _undifferentiable(explainer.name)
    return explainer


def _undifferentiable(name: str) -> XkdError:
    *others, last = differentiable_explainers()
    return XkdError(
        f"explainer: the map of {name!r} has no gradient at a network's weights; choose {', '.join(others)} or {last}"
    )


def _reaches(maps: Tensor, weights: list[nn.Parameter]) -> bool:
    if not maps.requires_grad:
        return False
    gradients = torch.autograd.grad(maps.square().sum(), weights, allow_unused=True)
    return any(gradient is not None for gradient in gradients)
