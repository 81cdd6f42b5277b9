"""A network as a file holds it: operations on named tensors, in ONNX's words, and sessions that compute some."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

import numpy as np

from xkd_eval.errors import XkdError

# Pixels of an image, and of all that a graph takes at once: a file must not say how much memory is taken.
_MOST_CHANNELS = 32  # of an input that is no photograph
_MOST_PIXELS, _MOST_AT_ONCE = 2**24, 2**26

Arrays = list[np.ndarray]

QUANTISING = frozenset(("QuantizeLinear", "DequantizeLinear", "FakeQuantize", "DynamicQuantizeLinear"))
"""What rounds its first input, or says again what was rounded."""

RANGING = frozenset(("DynamicQuantizeLinear", "DynamicQuantizeMatMul"))
"""What rounds by the range of all that it is given."""

WRITTEN_OUT = frozenset(("ReduceMin", "ReduceMax", "Round"))
"""The same in several operations, as OpenVINO converts it."""

PASSING = QUANTISING | {"Identity", "Dropout", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"}
"""What gives the values of its first input, rounded or in another shape."""


@dataclass(frozen=True)
class Operation:
    """One step of a computation.

    Attributes:
        kind: what it does, as ONNX calls it.
        inputs: names of tensors; an input that is left out is "".
        outputs: names of tensors.
        attributes: as ONNX has them; OpenVINO's under the names that it gives them.
    """

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def input(self, place: int) -> str:
        """The name of an input; "" where it is left out."""
        return self.inputs[place] if place < len(self.inputs) else ""


@dataclass(frozen=True)
class ImageInput:
    """What a graph is fed with.

    Attributes:
        name: of the tensor.
        batch: how many images it takes at once; None for any number.
        size: (H, W), of which each may be None for any.
        layout: the order of its axes.
        kind: of its numbers.
        channels: C.
    """

    name: str
    batch: int | None
    size: tuple[int | None, int | None]
    layout: Literal["NCHW", "NHWC"]
    kind: np.dtype[Any]
    channels: int = 3


class Session:
    """Computes some tensors of a graph. Threads may share it; a deep copy is the session itself.

    Args:
        run: an array in the graph's own layout, kind and batch -> arrays, images first.
        given: what the graph is fed with.
        alone: images are given one at a time, since the graph takes ranges over all that it is given.
    """

    def __init__(self, run: Callable[[np.ndarray], Arrays], given: ImageInput, *, alone: bool) -> None:
        self._run = run
        self._given = given
        self._alone = alone

    def __call__(self, images: np.ndarray) -> Arrays:
        """(B, 3, H, W) float32 -> the tensors that it was made for, each of B images."""
        if self._given.layout == "NHWC":
            images = images.transpose(0, 2, 3, 1)
        images = np.ascontiguousarray(images, dtype=self._given.kind)
        pieces = [self._piece(piece) for piece in self._cut(images)]
        return [np.concatenate(parts) for parts in zip(*pieces, strict=True)]

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def _cut(self, images: np.ndarray) -> Iterator[np.ndarray]:
        width = 1 if self._alone else self._given.batch or len(images)
        for start in range(0, len(images), width):
            yield images[start : start + width]

    def _piece(self, images: np.ndarray) -> Arrays:
        """A piece filled up to the graph's batch with its last image, so that ranges over the batch stay its own."""
        missing = (self._given.batch or len(images)) - len(images)
        filled = np.concatenate([images, np.repeat(images[-1:], missing, axis=0)]) if missing else images
        return [array[: len(images)] if array.ndim else array[None] for array in self._run(filled)]


class Graph(ABC):
    """A network in a file. A deep copy is the graph itself, which nobody writes to.

    Attributes:
        engine: that runs it, as its package is called.
        where: the argument and the file, which begin messages.
        operations: in the order of computation.
        given: what it is fed with.
        outputs: what its outputs are called -> the names of those tensors.
        logits: the name of the tensor that a classifier gives.
        digest: sha256, in hexadecimal, of the bytes of the file and of those that belong to it.
        texts: what the file says of itself, by name.
        sizes: of the weights that it stores, by name, how many numbers they are.
        notes: what a reader must know about how it was read.
    """

    engine: ClassVar[str]
    where: str
    operations: tuple[Operation, ...]
    given: ImageInput
    outputs: Mapping[str, str]
    logits: str
    digest: str
    texts: Mapping[str, str]
    sizes: Mapping[str, int]
    notes: tuple[str, ...] = ()

    @abstractmethod
    def run(self, names: Sequence[str]) -> Callable[[np.ndarray], Arrays]:
        """A function of the graph's own input that computes the tensors of these names."""

    @abstractmethod
    def constants(self, names: Sequence[str]) -> Arrays:
        """The values of tensors that no image has part in, as the engine computes them."""

    def session(self, names: Sequence[str]) -> Session:
        """See Session.

        Raises:
            XkdError: the engine does not run the graph.
        """
        kinds = {operation.kind for operation in self.operations}
        alone = not kinds.isdisjoint(RANGING) or kinds >= WRITTEN_OUT
        return Session(self.run(names), self.given, alone=alone)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def index(self, operations: Sequence[Operation]) -> None:
        """Take the operations, in any order, to find one's way in them.

        Raises:
            ValueError: a tensor that is computed twice, or from itself.
        """
        self._producers = {name: operation for operation in operations for name in operation.outputs if name}
        if len(self._producers) < sum(bool(name) for operation in operations for name in operation.outputs):
            raise ValueError("a tensor is computed twice")
        self.operations = tuple(_in_order(operations, self._producers))
        self._moving = {self.given.name}
        for operation in self.operations:
            if not self._moving.isdisjoint(operation.inputs):
                self._moving.update(operation.outputs)

    @property
    def n_parameters(self) -> int:
        """How many numbers the weights are that the logits depend on."""
        reached = {self.logits}
        for operation in reversed(self.operations):
            if not reached.isdisjoint(operation.outputs):
                reached.update(operation.inputs)
        return sum(size for name, size in self.sizes.items() if name in reached)

    def producer(self, name: str) -> Operation | None:
        """The operation that computes a tensor; None for what is given or stored."""
        return self._producers.get(name)

    def is_constant(self, name: str) -> bool:
        """Whether the images have no part in a tensor."""
        return bool(name) and name not in self._moving

    def moving_inputs(self, operation: Operation) -> list[str]:
        """Those of an operation's inputs that the images have part in."""
        return [name for name in operation.inputs if name in self._moving]

    def ancestors(self, name: str) -> Iterator[Operation]:
        """The operations on the way from the images to a tensor, the last one first."""
        wanted = {name}
        for operation in reversed(self.operations):
            if not wanted.isdisjoint(operation.outputs) and self.moving_inputs(operation):
                yield operation
                wanted.update(self.moving_inputs(operation))

    def before_softmax(self) -> Self:
        """The graph whose logits are what goes into a last Softmax or Sigmoid, with a note of it; else itself."""
        operation = self.producer(self.logits)
        while operation is not None and operation.kind in PASSING:
            operation = self.producer(operation.input(0))
        if operation is None or operation.kind not in ("Softmax", "LogSoftmax", "Sigmoid") or not operation.inputs:
            return self
        before = copy(self)
        before.logits = operation.inputs[0]
        before.notes = (*self.notes, f"its {operation.kind} is left out: what goes into it are the logits")
        return before


def _in_order(operations: Sequence[Operation], producers: Mapping[str, Operation]) -> Iterator[Operation]:
    """Each operation behind those that it needs."""
    needs = {id(one): {name for name in one.inputs if name in producers} for one in operations}
    readers: dict[str, list[Operation]] = {}
    for operation in operations:
        for name in needs[id(operation)]:
            readers.setdefault(name, []).append(operation)
    ready = deque(operation for operation in operations if not needs[id(operation)])
    done = 0
    while ready:
        operation = ready.popleft()
        yield operation
        done += 1
        for name in operation.outputs:
            for reader in readers.pop(name, ()):
                needs[id(reader)].discard(name)
                if not needs[id(reader)]:
                    ready.append(reader)
    if done < len(operations):
        raise ValueError("a tensor is computed from itself")


def image_input(name: str, shape: Sequence[int | None], kind: str, where: str) -> ImageInput:
    """What a graph is fed with, told by its input's axes.

    Args:
        name: of the input.
        shape: of it; None where any length is taken.
        kind: of its numbers, as NumPy calls them.
        where: begins messages.

    Raises:
        XkdError: no floats, or no images.
    """
    shown = ", ".join("?" if side is None else str(side) for side in shape)
    if kind not in ("float32", "float16", "float64"):
        raise XkdError(
            f"{where} takes {kind} ({shown}); expected normalised images (N, 3, H, W) of floats: export it so"
        )
    axis = _channel_axis(shape) if len(shape) == 4 else None
    if axis is None:
        raise XkdError(f"{where} takes ({shown}); expected images (N, 3, H, W) or (N, H, W, 3)")
    is_first, channels = axis == 1, shape[axis] or 3
    batch, height, width = (shape[place] for place in ((0, 2, 3) if is_first else (0, 1, 2)))
    pixels = [1 if side is None else side for side in (batch, height, width)]
    if min(pixels) < 1 or math.prod(pixels[1:]) > _MOST_PIXELS or math.prod(pixels) > _MOST_AT_ONCE:
        raise XkdError(f"{where} takes ({shown}), which no batch of photographs is; export it for any number of them")
    return ImageInput(name, batch, (height, width), "NCHW" if is_first else "NHWC", np.dtype(kind), channels)


def _channel_axis(shape: Sequence[int | None]) -> int | None:
    """Which of four axes are the channels: one of three, or else of few."""
    for channels in (3, None):
        for axis in (1, 3):
            if shape[axis] == channels:
                return axis
    few = [axis for axis in (1, 3) if 1 <= (shape[axis] or 0) <= _MOST_CHANNELS]
    return min(few, key=lambda axis: shape[axis] or 0, default=None)


def chosen_output(names: Sequence[str], wanted: str | int | None, where: str) -> str:
    """The output that holds the logits.

    Args:
        names: of all outputs.
        wanted: a name or a place; None where there is a single one.
        where: begins messages.

    Raises:
        XkdError: no such output, or several and none named.
    """
    if not names:
        raise XkdError(f"{where} has no output; export it again")
    listed = ", ".join(repr(name) for name in names[:5]) + (", ..." if len(names) > 5 else "")
    if wanted is None:
        if len(names) == 1:
            return names[0]
        raise XkdError(
            f"{where} has {len(names)} outputs ({listed}); say which holds the logits, as MODEL,output={names[0]} does"
        )
    if isinstance(wanted, str) and wanted in names:
        return wanted
    place = int(wanted) if str(wanted).isdecimal() else -1
    if 0 <= place < len(names):
        return names[place]
    raise XkdError(
        f"output: {wanted!r} found, and {where.partition(': ')[2]} has {listed}; give one of them, or its place"
    )
