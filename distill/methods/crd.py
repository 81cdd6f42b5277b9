"""CRD: contrastive representation distillation (Tian et al., ICLR 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distill.methods.base import Method
from distill.methods.gather import refuse_several_processes
from distill.methods.options import count, fraction, positive
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


@register
class Crd(Method):
    """Student and teacher embeddings of the same image agree, those of different images do not.

    Each network's anchors meet the other's memory, which holds one embedding for every training image.

    Args:
        dimensions: of the common embedding.
        negatives: drawn uniformly per image.
        temperature: of the critic.
        momentum: of the memory.
    """

    name = "crd"
    citation = "Tian et al., ICLR 2020"
    requires = frozenset({"embedding", "indices"})
    capturable = False

    student_memory: Tensor
    teacher_memory: Tensor
    normalisers: Tensor

    def __init__(
        self, dimensions: int = 128, negatives: int = 16384, temperature: float = 0.07, momentum: float = 0.5
    ) -> None:
        super().__init__()
        self.dimensions = count("dimensions", dimensions)
        self.negatives = count("negatives", negatives)
        self.temperature = positive("temperature", temperature)
        self.momentum = fraction("momentum", momentum)
        self.student_embed: nn.Module = nn.Identity()
        self.teacher_embed: nn.Module = nn.Identity()
        for buffer in ("student_memory", "teacher_memory"):
            self.register_buffer(buffer, torch.empty(0))
        # Z of the student's and of the teacher's anchors: set by the first batch, constant from then on.
        self.register_buffer("normalisers", torch.zeros(2))

    def losses(self, student: Pass, teacher: Pass, labels: Tensor, indices: Tensor | None) -> dict[str, Tensor]:
        """See Method.forward."""
        if indices is None:
            raise XkdError("indices: none given; crd needs each image's place in the training set")
        refuse_several_processes(self.name)
        self._check_indices(indices)
        own = F.normalize(self.student_embed(student.embedding()), dim=1)
        other = F.normalize(self.teacher_embed(teacher.embedding()), dim=1)
        candidates = self._candidates(indices)
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
        own, other = student.embedding(), teacher.embedding()
        self.student_embed = nn.Linear(own.shape[1], self.dimensions).to(own)
        self.teacher_embed = nn.Linear(other.shape[1], self.dimensions).to(own)
        self.student_memory = F.normalize(own.new_empty(dataset_size, self.dimensions).normal_(), dim=1)
        self.teacher_memory = F.normalize(own.new_empty(dataset_size, self.dimensions).normal_(), dim=1)
        self.normalisers = own.new_zeros(2)

    def _check_indices(self, indices: Tensor) -> None:
        size = len(self.student_memory)
        if indices.device.type == "cpu" and int(indices.max()) >= size:
            raise XkdError(f"indices: {int(indices.max())} found; expected numbers from 0 to {size - 1}, as set up")

    def _candidates(self, indices: Tensor) -> Tensor:
        drawn = torch.randint(len(self.student_memory), (len(indices), self.negatives), device=indices.device)
        return torch.cat((indices[:, None], drawn), dim=1)

    def _scores(self, anchors: Tensor, candidates: Tensor, anchor: int) -> Tensor:
        scores = ((candidates @ anchors[:, :, None]).squeeze(2) / self.temperature).exp()
        if self.normalisers[anchor] == 0:
            self.normalisers[anchor] = scores.detach().mean() * len(self.student_memory)
        # A copy, since the buffer may still change before the backward pass.
        return scores / self.normalisers[anchor].clone()

    @torch.no_grad()
    def _remember(self, memory: Tensor, embeddings: Tensor, indices: Tensor) -> None:
        mixed = self.momentum * memory[indices] + (1 - self.momentum) * embeddings
        memory[indices] = F.normalize(mixed, dim=1)
