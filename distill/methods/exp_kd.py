"""Exp-KD: the class activation map as the knowledge, as docs/exp-kd.md reads its published definition."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from distill.methods.alike import check_alike
from distill.methods.base import Method
from distill.methods.dkd import dkd_losses
from distill.methods.gather import gather_batch
from distill.methods.options import count, one_of, positive
from distill.methods.passes import Pass
from distill.methods.registry import register
from distill.methods.resizing import pool_to, to_larger, to_size
from xkd_eval.errors import XkdError

Channel = Literal["mean", "sum"]
Reduction = Literal["mean", "sum"]
Resize = Literal["larger", "teacher-to-student"] | int
Reading = Literal["published", "author", "l2", "kl", "decoupled", "batch"]
_READINGS = get_args(Reading)

# What the first published revision defines: a plain sum over all four dimensions, times 100.
_AUTHOR_SCALE = 100.0
_PUBLISHED: dict[str, Any] = {
    "channel": "mean",
    "clamp": True,
    "temperature": 1.0,
    "top_k": None,
    "resize": "larger",
    "pool": None,
    "relative": False,
}


def exp_kd_loss(
    student_cams: Tensor,
    teacher_cams: Tensor,
    temperature: float = 1.0,
    reduction: Reduction = "mean",
    reading: Reading = "published",
    labels: Tensor | None = None,
    beta: float = 8.0,
) -> Tensor:
    """How far two sets of class activation maps are apart, place by place (Exp-KD, Pattern Recognition 2024).

    As docs/exp-kd.md reads it, P(k|u,v) is the softmax over classes of the maps / T and the loss is the sum over k of
    (P^s - P^t)^2. The published code gives it `cams.clamp(min=0) / C` of a network whose last map has C channels, as
    the method exp_kd does.

    Args:
        student_cams, teacher_cams: (B, K, h, w), clamped or not; the smaller are up-sampled to the larger's size.
        temperature: T; "l2" has none.
        reduction: "mean" averages over batch and places; "sum" adds them up.
        reading: "published"; "author", times 100; "l2", the squared distance of the maps themselves, summed over
            classes; "kl", T^2 KL(P^t || P^s); "decoupled", its part of the label's class against the rest and `beta`
            times that among the rest (see dkd_losses); "batch", the published one with a softmax over images.
        labels: (B,) int64, for "decoupled".
        beta: for "decoupled".

    Returns:
        Scalar. Zero when the maps are equal; at most 2 by the published reading and "mean".
    """
    check_alike(student_cams, teacher_cams, dimensions=2)
    one_of("reduction", reduction, ("mean", "sum"))
    student, teacher = to_larger(student_cams, teacher_cams)
    match one_of("reading", reading, _READINGS):
        case "l2":
            distance = (student - teacher).square().sum(1)
        case "kl":
            log_p, log_q = (F.log_softmax(maps / temperature, dim=1) for maps in (student, teacher))
            distance = F.kl_div(log_p, log_q, reduction="none", log_target=True).sum(1) * temperature**2
        case "decoupled":
            distance = _decoupled(student, teacher, labels, temperature, beta)
        case _:
            over = 0 if reading == "batch" else 1
            p, q = (F.softmax(maps / temperature, dim=over) for maps in (student, teacher))
            distance = (p - q).square().sum(1)
    scale = _AUTHOR_SCALE if reading == "author" else 1.0
    return scale * (distance.mean() if reduction == "mean" else distance.sum())


@register
class ExpKd(Method):
    """Match the student's class activation maps with the teacher's.

    Args:
        reading: what the distance of two maps is; see exp_kd_loss. "author" is the first published revision as it
            stands, with no option but these defaults and reduction="sum".
        channel: "mean" divides the maps by their network's number of channels, as the published code does; "sum" is
            the CAM whose spatial mean is the logit. The weight that works differs by orders of magnitude.
        clamp: max(0, map) before the distance. `statistics` then reports `clamped`, the fraction of the student's map
            values that get no gradient, and `dead_places`, the fraction of places where no class gets any.
        pool: n averages the maps to n x n before they are clamped, so that negative evidence counts within a place.
        temperature: T of the softmax.
        beta: weight of the other classes by reading="decoupled", where the label's class weighs 1.
        reduction: over batch and places.
        top_k: only the teacher's k most probable classes of each image, softmax over those; None takes all K.
        resize: maps of different size: "larger" up-samples the smaller, "teacher-to-student" takes the student's size,
            an integer n averages both to n x n after the clamp.
        relative: in units of the squared difference of the maps, summed over classes, to which the loss is close while
            the softmax is nearly uniform, so that one weight may serve pairs of other K and C: of maps centred over the
            classes (by "batch" over the images, by "l2" not at all); by "decoupled" the others count `beta` times. By
            the published reading it is times (K C T)^2 for K classes and the teacher's C channels (1 by channel="sum");
            a student of other width has its maps in its own.
    """

    name = "exp_kd"
    citation = "Exp-KD (abstract, figure and first published revision)"
    requires = frozenset({"logits", "features"})
    takes_mixed = True

    def __init__(
        self,
        reading: Reading = "published",
        channel: Channel = "mean",
        clamp: bool = True,
        pool: int | None = None,
        temperature: float = 1.0,
        beta: float = 8.0,
        reduction: Reduction = "mean",
        top_k: int | None = None,
        resize: Resize = "larger",
        relative: bool = False,
    ) -> None:
        super().__init__()
        self.reading: Reading = one_of("reading", reading, _READINGS)
        self.channel = one_of("channel", channel, ("mean", "sum"))
        self.clamp = one_of("clamp", clamp, (True, False))
        self.pool = pool if pool is None else count("pool", pool)
        self.temperature = positive("temperature", temperature)
        self.beta = positive("beta", beta)
        self.reduction: Reduction = one_of("reduction", reduction, ("mean", "sum"))
        self.top_k = top_k if top_k is None else count("top_k", top_k, minimum=2)
        self.resize = _check_resize(resize)
        self.relative = one_of("relative", relative, (True, False))
        self._check_reading()
        # Labels that are shares of classes have no class against the rest.
        self.takes_mixed = reading != "decoupled"
        self.gathers = reading == "batch"
        self.needs_images = 2 if reading == "batch" else 1

    def losses(self, student: Pass, teacher: Pass, labels: Tensor, indices: Tensor | None) -> dict[str, Tensor]:
        """See Method.forward."""
        classes = self._classes(teacher)
        student_cams = self._maps(student, classes)
        teacher_cams = self._maps(teacher, classes)
        if self.clamp:
            self._count_clamped(student_cams.detach())
            student_cams, teacher_cams = student_cams.clamp(min=0), teacher_cams.clamp(min=0)
        student_cams, teacher_cams = self._same_size(student_cams, teacher_cams)
        if self.gathers:
            student_cams, teacher_cams = gather_batch(student_cams), gather_batch(teacher_cams)
        loss = exp_kd_loss(
            *(student_cams, teacher_cams, self.temperature, self.reduction, self.reading),
            labels=labels,
            beta=self.beta,
        )
        return {"exp_kd": self._scale(student_cams, teacher.last_map().shape[1]) * loss}

    def _scale(self, cams: Tensor, channels: int) -> float:
        """What makes of the loss of maps (B, K, h, w) of which a softmax is nearly uniform their squared difference."""
        if not self.relative:
            return 1.0
        images, classes = cams.shape[:2]
        of_the_maps = channels**2 if self.channel == "mean" else 1
        match self.reading:
            case "l2":
                return of_the_maps
            case "kl" | "decoupled":
                return 2 * classes * of_the_maps
            case "batch":
                return (images * self.temperature) ** 2 * of_the_maps
        return (classes * self.temperature) ** 2 * of_the_maps

    def _check_reading(self) -> None:
        """Refuse options that the reading does not read, or that another one is defined by."""
        if self.reading == "author":
            for option, defined in _PUBLISHED.items():
                _refuse_other(option, getattr(self, option), defined, "the reading 'author'")
            self.reduction = "sum"
        if self.reading == "l2":
            _refuse_other("temperature", self.temperature, 1.0, "the reading 'l2', which has no softmax")
        if self.reading != "decoupled":
            _refuse_other("beta", self.beta, 8.0, f"the reading {self.reading!r}; 'decoupled' alone reads it")
        elif self.top_k is not None:
            _refuse_other("top_k", self.top_k, None, "the reading 'decoupled', whose label may not be among them")
        if self.reading == "batch":
            _refuse_other("top_k", self.top_k, None, "the reading 'batch', which compares a class over the images")

    def _classes(self, teacher: Pass) -> Tensor | None:
        if self.top_k is None:
            return None
        if self.top_k > teacher.logits.shape[1]:
            raise XkdError(f"top_k: {self.top_k} found; the teacher has {teacher.logits.shape[1]} classes")
        return teacher.logits.topk(self.top_k, dim=1).indices

    def _maps(self, network: Pass, classes: Tensor | None) -> Tensor:
        cams = network.cams(classes)
        if self.pool is not None:
            cams = pool_to(cams, (self.pool, self.pool), "pool")
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


def _decoupled(student: Tensor, teacher: Tensor, labels: Tensor | None, temperature: float, beta: float) -> Tensor:
    """(B, K, h, w) -> (B, h, w)."""
    if labels is None:
        raise XkdError("labels: none given; the reading 'decoupled' weighs the label's class apart")
    check_alike(student[:, 0, 0, 0], labels, name="labels")
    if labels.dtype != torch.int64:
        raise XkdError(f"labels: {labels.dtype} found; expected int64 (B,), a class an image")
    places = student.shape[2:]
    own, other = (maps.flatten(2).transpose(1, 2).flatten(0, 1) for maps in (student, teacher))
    of_target, of_others = dkd_losses(own, other, labels.repeat_interleave(places.numel()), temperature)
    return (of_target + beta * of_others).unflatten(0, (-1, *places))


def _refuse_other(option: str, value: object, defined: object, where: str) -> None:
    if value != defined:
        raise XkdError(f"{option}: {value!r} found with {where}; expected {defined!r}: leave it out")


def _check_resize(resize: Resize) -> Resize:
    if isinstance(resize, int):
        return count("resize", resize, minimum=1)
    return one_of("resize", resize, ("larger", "teacher-to-student"))
