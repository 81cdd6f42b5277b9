"""Method: a distillation loss, computed from what a student and a teacher made of the same batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from distill.methods.gather import processes
from distill.methods.passes import Pass
from xkd_eval.errors import XkdError

Requirement = Literal[
    "logits",
    "features",
    "embedding",
    "taps",
    "input gradients",
    "explanations",
    "distillation token",
    "indices",
]


class Method(nn.Module, ABC):
    """A distillation loss with its options, and its adapters where it trains any. Subclass it to add one.

    The training loop calls `setup` once with the passes of one batch, hands `parameters()` to the optimiser beside the
    student's, and then calls the module on every batch. The options are the constructor's keyword arguments. With
    several processes, averaging the adapters' gradients over them is the loop's task, as it is for the student's.

    Attributes:
        name: what a recipe calls it.
        citation: authors, venue and year.
        requires: what the passes must hold. A method that requires nothing needs no teacher. "input gradients" also
            means that the teacher runs with gradients, its parameters frozen; "distillation token" that the student
            answers by two heads in training.
        capturable: whether each step is the same operations on the same shapes, whatever the values and without
            drawing at random, so that a CUDA graph can hold it.
        needs_images: the fewest in a batch by which its losses are defined and teach something.
        needs_classes: the same of the classes.
        takes_mixed: whether `labels` may be shares of classes (B, K), of images that mixup or CutMix made of two; not
            where it reads one class an image, or remembers images.
        gathers: whether it compares the images of all processes' batches, so that those of all count. (These four may
            depend on the options.)
        statistics: name to scalar, of the latest batch, to be logged and not trained on.

    Example:
        >>> import distill
        >>> @distill.register
        ... class LogitDistance(distill.Method):
        ...     name = "logit_distance"
        ...     citation = "Ba & Caruana, NIPS 2014"
        ...     requires = frozenset({"logits"})
        ...
        ...     def losses(self, student, teacher, labels, indices):
        ...         return {"logit_distance": (student.logits - teacher.logits).square().mean()}
    """

    name: ClassVar[str]
    citation: ClassVar[str]
    requires: ClassVar[frozenset[Requirement]]
    capturable: ClassVar[bool] = True
    needs_images: int = 1
    needs_classes: int = 2
    takes_mixed: bool = False
    gathers: bool = False

    def __init__(self) -> None:
        super().__init__()
        self.statistics: dict[str, Tensor] = {}
        self._is_set_up = type(self)._build is Method._build

    def setup(self, student: Pass, teacher: Pass, dataset_size: int) -> None:
        """Build what depends on the two networks' shapes, on their device.

        Args:
            student, teacher: of one batch, on the device of the training.
            dataset_size: training images, whose `indices` run from 0 to dataset_size - 1.

        Raises:
            XkdError: the two do not fit the method.
        """
        self._build(student.detached().full_precision(), teacher.detached().full_precision(), dataset_size)
        self._is_set_up = True

    def see_classes(self, counts: Tensor) -> None:
        """Told once before a training, also where one is resumed, before `setup`: how many images each class has.

        A training's state need not hold what follows from it.

        Args:
            counts: (K,) int64, of the images that are trained on, on the device of the training; the same in all
                processes. A class may have none.

        Raises:
            XkdError: an option does not fit as many classes.
        """

    def see_labels(self, labels: Tensor) -> None:
        """Told as `see_classes` is, and after it: the class of each image that is trained on.

        Args:
            labels: (N,) int64, by the places that `indices` are; on the device of the training.

        Raises:
            XkdError: the method cannot be trained on such classes.
        """

    def forward(
        self, student: Pass, teacher: Pass | None, labels: Tensor, indices: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The method's losses by name: their sum is what the recipe's weight multiplies.

        Computed in float32 under autocast too.

        Args:
            student: with gradient.
            teacher: on the same images; None only for methods that require nothing.
            labels: (B,) int64; (B, K) floats that sum to 1 for mixed images, where the method takes them.
            indices: (B,) int64, each image's place in the training set; where the method requires "indices".

        Returns:
            Name to scalar. Each name begins with the method's, which alone is the name where there is one loss; a
            training refuses others.

        Raises:
            XkdError: no `setup` where the method needs one; no teacher, or other classes or images than its own; labels
                or indices of another kind, number or range; fewer images or classes than the method needs; an option
                that does not fit the passes.
        """
        if teacher is None:
            if self.requires:
                raise XkdError(f"teacher: none given; {self.name} distils from one")
            teacher = student
        if not self._is_set_up:
            raise XkdError(f"{self.name}: it is not set up; call `setup` with the passes of a batch first")
        self._check_batch(student, teacher, labels, indices)
        self._check_needs(student.logits)
        self._check_classes(student, teacher)
        with torch.autocast(student.logits.device.type, enabled=False):
            if "input gradients" not in self.requires:
                # A cast copy is no ancestor of the logits, so a method that differentiates does its own casting.
                student, teacher = student.full_precision(), teacher.full_precision()
            return self.losses(student, teacher, labels, indices)

    @abstractmethod
    def losses(self, student: Pass, teacher: Pass, labels: Tensor, indices: Tensor | None) -> dict[str, Tensor]:
        """What `forward` returns; arguments as there, float32 or wider, a teacher always given."""

    def _build(self, student: Pass, teacher: Pass, dataset_size: int) -> None:
        pass

    def _check_batch(self, student: Pass, teacher: Pass, labels: object, indices: object) -> None:
        """Refuse parts that are not of one batch: torch would broadcast some of them in silence."""
        images = len(student.logits) if student.logits.ndim else 0
        for name, network in (("student", student), ("teacher", teacher)):
            if network.logits.ndim != 2:
                raise XkdError(f"{name}: logits of shape {tuple(network.logits.shape)} found; expected (B, K)")
            for part, values in self._read_of(network):
                if values is not None and len(values) != images:
                    raise XkdError(f"{name}: {part} of {len(values)} images found; expected {images}")
        if isinstance(labels, Tensor) and labels.is_floating_point() and self.takes_mixed:
            _check_shares(labels, student.logits.shape)
        else:
            _check_numbers("labels", labels, images, student.logits.shape[1])
        if indices is not None:
            _check_numbers("indices", indices, images)

    def _read_of(self, network: Pass) -> Iterator[tuple[str, Tensor | None]]:
        """The parts of a pass that the method requires."""
        yield "logits", network.logits
        if not self.requires.isdisjoint(("features", "embedding")):
            yield "features", network.features
            yield "source", network.source
        if "embedding" in self.requires:
            yield "embedding", network.pooled
        if "input gradients" in self.requires:
            yield "images", network.images
        if "distillation token" in self.requires:
            yield "distilled_logits", network.distilled_logits
        if "explanations" in self.requires:
            yield "images to explain", None if network.explaining is None else network.explaining.images
        if "taps" in self.requires:
            yield from network.taps.items()

    def _check_needs(self, logits: Tensor) -> None:
        images, classes = logits.shape
        images *= processes() if self.gathers else 1
        if images < self.needs_images:
            raise XkdError(
                f"{self.name}: a batch of {images} found; it needs {self.needs_images} images or more: "
                "raise batch_size, or lower accumulate"
            )
        if classes < self.needs_classes:
            raise XkdError(f"{self.name}: logits of {classes} found; it needs {self.needs_classes} classes or more")

    def _check_classes(self, student: Pass, teacher: Pass) -> None:
        if "logits" in self.requires and student.logits.shape != teacher.logits.shape:
            raise XkdError(
                f"{self.name}: the student's logits are {tuple(student.logits.shape)} and the teacher's "
                f"{tuple(teacher.logits.shape)}; expected the same classes"
            )


def _check_shares(labels: Tensor, expected: torch.Size) -> None:
    """Raise XkdError for anything but shares of the classes, one row an image."""
    if labels.shape != expected:
        raise XkdError(f"labels: {labels.dtype} {tuple(labels.shape)} found; expected shares {tuple(expected)}")
    # As for _check_numbers.
    if labels.device.type == "cpu" and not (labels.ge(0).all() and labels.sum(1).sub(1).abs().lt(1e-3).all()):
        raise XkdError("labels: shares of classes found that are negative or do not sum to 1")


def _check_numbers(name: str, given: object, count: int, end: int | None = None) -> None:
    """Raise XkdError for anything but `count` int64 from 0 to below `end`."""
    if not isinstance(given, Tensor) or given.dtype != torch.int64 or given.ndim != 1:
        found = f"{given.dtype} {tuple(given.shape)}" if isinstance(given, Tensor) else f"a {type(given).__name__}"
        raise XkdError(f"{name}: {found} found; expected int64 (B,)")
    if len(given) != count:
        raise XkdError(f"{name}: {len(given)} found; expected one for each of {count} images")
    # A GPU would be waited for; it refuses the most of them itself.
    if count and given.device.type == "cpu":
        values = given.numpy()
        wrong = values.min() if values.min() < 0 else values.max()
        if wrong < 0 or (end is not None and wrong >= end):
            expected = "of at least 0" if end is None else f"from 0 to {end - 1}"
            raise XkdError(f"{name}: {wrong} found; expected numbers {expected}")
