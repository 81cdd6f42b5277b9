"""What a student and a teacher made of a batch, at random and in float64."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from distill.methods import Pass


@dataclass(frozen=True)
class Shape:
    """Of a batch.

    Attributes:
        images, classes: B and K.
        student, teacher: channels of their last map, and places on a side.
    """

    images: int
    classes: int
    student: tuple[int, int]
    teacher: tuple[int, int]

    def __str__(self) -> str:
        networks = [f"{channels} x {side} x {side}" for channels, side in (self.student, self.teacher)]
        return f"{self.images} images, {self.classes} classes, maps of {networks[0]} (student) and {networks[1]}"


SHAPES = (
    Shape(5, 6, (8, 4), (8, 4)),
    Shape(16, 100, (64, 8), (64, 8)),
    Shape(7, 10, (32, 2), (16, 4)),
    Shape(9, 20, (12, 14), (24, 7)),
)
"""Equal networks, those of CIFAR-100, a coarser student, and a finer one whose teacher's map 4 does not divide."""


@dataclass(frozen=True)
class Network:
    """Its outputs are unrelated numbers, so that each loss is given what it reads and its gradient is of that alone.

    Attributes:
        logits: (B, K).
        maps: (B, C, h, w), below and above zero.
        embedding: (B, C).
        weight, bias: of a linear head on the average of the maps, (K, C) and (K,).
    """

    logits: Tensor
    maps: Tensor
    embedding: Tensor
    weight: Tensor
    bias: Tensor

    def linear_logits(self) -> Tensor:
        """(B, K), of the maps, in their graph."""
        return self.maps.mean((2, 3)) @ self.weight.T + self.bias

    def passed(self, images: Tensor | None = None) -> Pass:
        """Maps and head, and the logits that follow from them."""
        return Pass(self.linear_logits(), self.maps, self.weight, self.bias, images=images)


@dataclass(frozen=True)
class Inputs:
    """Of one shape.

    Attributes:
        student: its tensors are leaves that require a gradient.
        teacher: its tensors are constants.
        labels: (B,).
        regressed: (B, C, h, w) of the teacher's map, a leaf too: the student's map behind a trained layer.
    """

    student: Network
    teacher: Network
    labels: Tensor
    regressed: Tensor

    def leaves(self) -> list[Tensor]:
        """All of the student's that a loss may read."""
        own = self.student
        return [own.logits, own.maps, own.embedding, own.weight, self.regressed]


def make_inputs(shape: Shape) -> Inputs:
    """The same for each call."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator, dtype=torch.float64)

    def network(channels: int, side: int) -> Network:
        maps, embedding = drawn(shape.images, channels, side, side), drawn(shape.images, channels)
        head = drawn(shape.classes, channels), drawn(shape.classes)
        return Network(3 * drawn(shape.images, shape.classes), maps, embedding, *head)

    student, teacher = network(*shape.student), network(*shape.teacher)
    # Some images that the teacher is right about, and others.
    right = teacher.linear_logits().argmax(1)
    labels = torch.where(torch.arange(shape.images) % 2 == 0, right, (right + 1) % shape.classes)
    inputs = Inputs(student, teacher, labels, drawn(*teacher.maps.shape))
    for leaf in inputs.leaves():
        leaf.requires_grad_()
    return inputs
