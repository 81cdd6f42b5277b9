"""Exp-KD: the class activation map as the knowledge, as docs/exp-kd.md reads its published definition."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor
from torch.nn import functional as F

from distill.methods.alike import check_alike
from distill.methods.base import Method
from distill.methods.options import count, one_of, positive
from distill.methods.passes import Pass
from distill.methods.registry import register
from distill.methods.resizing import pool_to, to_larger, to_size
from xkd_eval.errors import XkdError

Channel = Literal["mean", "sum"]
Reduction = Literal["mean", "sum"]
Resize = Literal["larger", "teacher-to-student"] | int

# What the first published revision defines: a plain sum over all four dimensions, times 100.
_AUTHOR_SCALE = 100.0
_AUTHOR: dict[str, Any] = {
    "channel": "mean",
    "clamp": True,
    "temperature": 1.0,
    "reduction": "sum",
    "top_k": None,
    "resize": "larger",
    "relative": False,
}


def exp_kd_loss(
    student_cams: Tensor, teacher_cams: Tensor, temperature: float = 1.0, reduction: Reduction = "mean"
) -> Tensor:
    """Squared distance of the class distributions that two sets of maps give at every place.

    P(k|u,v) is the softmax over classes of the maps / T; the loss is the sum over k of (P^s - P^t)^2 (Exp-KD,
    Pattern Recognition 2024, as docs/exp-kd.md reads it). The published code gives it `cams.clamp(min=0) / C` of a
    network whose last map has C channels, as the method exp_kd does.

    Args:
        student_cams, teacher_cams: (B, K, h, w), clamped or not; the smaller are up-sampled to the larger's size.
        temperature: T.
        reduction: "mean" averages over batch and places; "sum" adds them up.

    Returns:
        Scalar. Zero when the maps are equal; at most 2 by "mean".
    """
    check_alike(student_cams, teacher_cams, dimensions=2)
    one_of("reduction", reduction, ("mean", "sum"))
    student_cams, teacher_cams = to_larger(student_cams, teacher_cams)
    distance = (F.softmax(student_cams / temperature, dim=1) - F.softmax(teacher_cams / temperature, dim=1)).square()
    return distance.sum(1).mean() if reduction == "mean" else distance.sum()


@register
class ExpKd(Method):
    """Match the student's class activation maps with the teacher's.

    Args:
        channel: "mean" divides the maps by their network's number of channels, as the published code does; "sum" is
            the CAM whose spatial mean is the logit. The weight that works differs by orders of magnitude.
        clamp: max(0, map) before the softmax. `statistics` then reports `clamped`, the fraction of the student's map
            values that get no gradient, and `dead_places`, the fraction of places where no class gets any.
        temperature: T of the softmax over classes.
        reduction: over batch and places.
        top_k: only the teacher's k most probable classes of each image, softmax over those; None takes all K.
        resize: maps of different size: "larger" up-samples the smaller, "teacher-to-student" takes the student's size,
            an integer n averages both to n x n.
        relative: times (K C T)^2 for K classes and the teacher's C channels (1 with channel="sum"), which takes the
            scale of a nearly uniform softmax out: one weight may then serve pairs of different K and C.
        variant: "author" is the first published revision's definition: the defaults with reduction="sum", times 100.
    """

    name = "exp_kd"
    citation = "Exp-KD (abstract, figure and first published revision)"
    requires = frozenset({"logits", "features"})
    takes_mixed = True

    def __init__(
        self,
        channel: Channel = "mean",
        clamp: bool = True,
        temperature: float = 1.0,
        reduction: Reduction = "mean",
        top_k: int | None = None,
        resize: Resize = "larger",
        relative: bool = False,
        variant: Literal["xkd", "author"] = "xkd",
    ) -> None:
        super().__init__()
        self.variant = one_of("variant", variant, ("xkd", "author"))
        self.scale = 1.0
        if variant == "author":
            reduction = _author_reduction(
                channel=channel, clamp=clamp, temperature=temperature, top_k=top_k, resize=resize, relative=relative
            )
            self.scale = _AUTHOR_SCALE
        self.channel = one_of("channel", channel, ("mean", "sum"))
        self.clamp = one_of("clamp", clamp, (True, False))
        self.temperature = positive("temperature", temperature)
        self.reduction: Reduction = one_of("reduction", reduction, ("mean", "sum"))
        self.top_k = top_k if top_k is None else count("top_k", top_k, minimum=2)
        self.resize = _check_resize(resize)
        self.relative = one_of("relative", relative, (True, False))

    def losses(self, student: Pass, teacher: Pass, labels: Tensor, indices: Tensor | None) -> dict[str, Tensor]:
        """See Method.forward."""
        classes = self._classes(teacher)
        student_cams = self._maps(student, classes)
        teacher_cams = self._maps(teacher, classes)
        if self.clamp:
            self._count_clamped(student_cams.detach())
            student_cams, teacher_cams = student_cams.clamp(min=0), teacher_cams.clamp(min=0)
        student_cams, teacher_cams = self._same_size(student_cams, teacher_cams)
        loss = exp_kd_loss(student_cams, teacher_cams, self.temperature, self.reduction)
        return {"exp_kd": self.scale * self._relative_scale(teacher, student_cams.shape[1]) * loss}

    def _relative_scale(self, teacher: Pass, classes: int) -> float:
        if not self.relative:
            return 1.0
        channels = teacher.last_map().shape[1] if self.channel == "mean" else 1
        return (classes * channels * self.temperature) ** 2

    def _classes(self, teacher: Pass) -> Tensor | None:
        if self.top_k is None:
            return None
        if self.top_k > teacher.logits.shape[1]:
            raise XkdError(f"top_k: {self.top_k} found; the teacher has {teacher.logits.shape[1]} classes")
        return teacher.logits.topk(self.top_k, dim=1).indices

    def _maps(self, network: Pass, classes: Tensor | None) -> Tensor:
        cams = network.cams(classes)
        return cams / network.last_map().shape[1] if self.channel == "mean" else cams

    def _count_clamped(self, student_cams: Tensor) -> None:
        clamped = student_cams <= 0
        self.statistics = {
            "exp_kd/clamped": clamped.float().mean(),
            "exp_kd/dead_places": clamped.all(dim=1).float().mean(),
        }

    def _same_size(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        if isinstance(self.resize, int):
            grid = (self.resize, self.resize)
            return pool_to(student, grid, "resize"), pool_to(teacher, grid, "resize")
        if self.resize == "teacher-to-student":
            return student, to_size(teacher, (student.shape[2], student.shape[3]))
        return to_larger(student, teacher)


def _author_reduction(**options: Any) -> Reduction:
    for option, value in options.items():
        if value != _AUTHOR[option]:
            raise XkdError(
                f"{option}: {value!r} found with variant 'author', which is defined by {_AUTHOR[option]!r}; "
                "drop the option or take variant 'xkd'"
            )
    return _AUTHOR["reduction"]


def _check_resize(resize: Resize) -> Resize:
    if isinstance(resize, int):
        return count("resize", resize, minimum=1)
    return one_of("resize", resize, ("larger", "teacher-to-student"))
