"""CRD: contrastive representation distillation (Tian et al., ICLR 2020)."""

from __future__ import annotations

from math import sqrt
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distill.methods.base import Method
from distill.methods.gather import refuse_several_processes
from distill.methods.options import count, fraction, one_of, positive
from distill.methods.passes import Pass
from distill.methods.registry import register
from xkd_eval.errors import XkdError

_EPSILON = 1e-7


def nce_loss(scores: Tensor, dataset_size: int) -> Tensor:
    """Noise-contrastive estimation: the one true pair from pairs with uniformly drawn images (Tian et al., ICLR 2020).

    Args:
        scores: (B, 1 + N) positive and normalised to a density; the true pair first.
        dataset_size: images that the negatives are drawn from.

    Returns:
        Scalar, the mean over the batch.
    """
    noise = (scores.shape[1] - 1) / dataset_size
    positives, negatives = scores[:, :1], scores[:, 1:]
    log_true = (positives / (positives + noise + _EPSILON)).log()
    log_noise = (noise / (negatives + noise + _EPSILON)).log()
    return -torch.cat((log_true, log_noise), dim=1).sum(1).mean()


class OtherClasses(nn.Module):
    """The images of all classes but one, for any of the classes, in the memory of one list.

    Args:
        labels: (N,) int64, the class of each image.

    Attributes:
        order: (N,) images by class.
        starts, counts: (K,) where each class begins among them, and how many it has.

    Raises:
        XkdError: there is but one class.
    """

    order: Tensor
    starts: Tensor
    counts: Tensor

    def __init__(self, labels: Tensor) -> None:
        super().__init__()
        counts = labels.bincount()
        if (counts > 0).sum() < 2:
            raise XkdError(
                "crd: the training images are all of one class; expected others to draw negatives from, or the pool "
                "'all'"
            )
        # They follow from the labels, and so are no part of a state.
        self.register_buffer("order", labels.argsort(stable=True), persistent=False)
        self.register_buffer("starts", counts.cumsum(0) - counts, persistent=False)
        self.register_buffer("counts", counts, persistent=False)

    def draw(self, labels: Tensor, number: int) -> Tensor:
        """(B,) classes -> (B, number) images of others: each at most once a row, unless there are fewer of them."""
        own, starts = self.counts[labels], self.starts[labels]
        sizes = (len(self.order) - own).tolist()
        places = torch.stack([_drawn(size, number, labels.device) for size in sizes])
        return self.order[places + own[:, None] * (places >= starts[:, None])]


def _drawn(size: int, number: int, device: torch.device) -> Tensor:
    if number > size:
        return torch.randint(size, (number,), device=device)
    return torch.randperm(size, device=device)[:number]


@register
class Crd(Method):
    """Student and teacher embeddings of the same image agree, those of different images do not.

    Each network's anchors meet the other's memory, which holds one embedding for every training image.

    Args:
        dimensions: of the common embedding.
        negatives: drawn for each image.
        temperature: of the critic.
        momentum: of the memory.
        pool: what they are drawn from: "others", the images of other classes, each once as long as they suffice; or
            "all" images, each at random.
    """

    name = "crd"
    citation = "Tian et al., ICLR 2020"
    requires = frozenset({"embedding", "indices"})
    capturable = False

    student_memory: Tensor
    teacher_memory: Tensor
    normalisers: Tensor

    def __init__(
        self,
        dimensions: int = 128,
        negatives: int = 16384,
        temperature: float = 0.07,
        momentum: float = 0.5,
        pool: Literal["others", "all"] = "others",
    ) -> None:
        super().__init__()
        self.dimensions = count("dimensions", dimensions)
        self.negatives = count("negatives", negatives)
        self.temperature = positive("temperature", temperature)
        self.momentum = fraction("momentum", momentum)
        self.pool = one_of("pool", pool, ("others", "all"))
        self.others: OtherClasses | None = None
        self.student_embed: nn.Module = nn.Identity()
        self.teacher_embed: nn.Module = nn.Identity()
        for buffer in ("student_memory", "teacher_memory"):
            self.register_buffer(buffer, torch.empty(0))
        # Z of the student's and of the teacher's anchors: set by the first batch, constant from then on.
        self.register_buffer("normalisers", torch.zeros(2))

    def see_labels(self, labels: Tensor) -> None:
        """See Method."""
        if self.pool == "others":
            self.others = OtherClasses(labels)

    def losses(self, student: Pass, teacher: Pass, labels: Tensor, indices: Tensor | None) -> dict[str, Tensor]:
        """See Method.forward."""
        if indices is None:
            raise XkdError("indices: none given; crd needs each image's place in the training set")
        refuse_several_processes(self.name)
        self._check_indices(indices)
        own = F.normalize(self.student_embed(student.embedding()), dim=1)
        other = F.normalize(self.teacher_embed(teacher.embedding()), dim=1)
        candidates = self._candidates(indices, labels)
        scores = [
            self._scores(own, self.teacher_memory[candidates], anchor=0),
            self._scores(other, self.student_memory[candidates], anchor=1),
        ]
        size = len(self.student_memory)
        losses = {"crd_student": nce_loss(scores[0], size), "crd_teacher": nce_loss(scores[1], size)}
        if self.training:
            self._remember(self.student_memory, own, indices)
            self._remember(self.teacher_memory, other, indices)
        return losses

    def _build(self, student: Pass, teacher: Pass, dataset_size: int) -> None:
        refuse_several_processes(self.name)
        self._check_labels(dataset_size)
        own, other = student.embedding(), teacher.embedding()
        self.student_embed = nn.Linear(own.shape[1], self.dimensions).to(own)
        self.teacher_embed = nn.Linear(other.shape[1], self.dimensions).to(own)
        # As published: rows of about unit length, which their first update makes exact.
        bound = sqrt(3 / self.dimensions)
        self.student_memory = own.new_empty(dataset_size, self.dimensions).uniform_(-bound, bound)
        self.teacher_memory = own.new_empty(dataset_size, self.dimensions).uniform_(-bound, bound)
        self.normalisers = own.new_zeros(2)

    def _check_labels(self, dataset_size: int) -> None:
        if self.pool == "all":
            return
        if self.others is None:
            raise XkdError(
                "crd: the classes of the training images are not known; call `see_labels` with them before `setup`, or "
                "set pool to 'all'"
            )
        if len(self.others.order) != dataset_size:
            raise XkdError(
                f"crd: `see_labels` was given {len(self.others.order)} labels; expected one for each of {dataset_size} "
                "training images"
            )

    def _check_indices(self, indices: Tensor) -> None:
        size = len(self.student_memory)
        if indices.device.type == "cpu" and int(indices.max()) >= size:
            raise XkdError(f"indices: {int(indices.max())} found; expected numbers from 0 to {size - 1}, as set up")

    def _candidates(self, indices: Tensor, labels: Tensor) -> Tensor:
        """(B, 1 + negatives) places in the memories, each image's own first."""
        if self.others is None:
            drawn = torch.randint(len(self.student_memory), (len(indices), self.negatives), device=indices.device)
        else:
            drawn = self.others.draw(labels, self.negatives)
        return torch.cat((indices[:, None], drawn), dim=1)

    def _scores(self, anchors: Tensor, candidates: Tensor, anchor: int) -> Tensor:
        scores = ((candidates @ anchors[:, :, None]).squeeze(2) / self.temperature).exp()
        known, first = self.normalisers[anchor], scores.detach().mean() * len(self.student_memory)
        # Whether one is known is not asked in Python, where a device would be waited for.
        normaliser = torch.where(known == 0, first, known)
        self.normalisers[anchor] = normaliser
        return scores / normaliser

    @torch.no_grad()
    def _remember(self, memory: Tensor, embeddings: Tensor, indices: Tensor) -> None:
        mixed = self.momentum * memory[indices] + (1 - self.momentum) * embeddings
        memory[indices] = F.normalize(mixed, dim=1)
