"""What a network's modules are given and put out for one batch, and through which of them all of its answer goes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from xkd_eval.classifiers.arguments import described_values
from xkd_eval.classifiers.hooks import ForwardHooks, takes_hooks
from xkd_eval.classifiers.outputs import BEFORE
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.classifiers.proof.places import MOST_PREFIX_TOKENS, Layout, grid_of, map_layout
from xkd_eval.classifiers.proof.probes import random_images
from xkd_eval.classifiers.proof.trace import working_copy
from xkd_eval.foreign import reading

_SEED, _IMAGES = 5, 2


@dataclass(frozen=True)
class Tap:
    """A module whose output, or input, is compared, and how it is read as a map.

    Attributes:
        path: of the module.
        layout: of the values: (B, C, h, w), (B, h, w, C), or tokens (B, N, C), row by row.
        grid: (h, w) at the classifier's input size.
        prefix: tokens before those of the image, which are left out.
        overwritten: whether the network works in place on the values later, as `out += shortcut` does.
        before: whether they are what the module is given.
    """

    path: str
    layout: Layout = "NCHW"
    grid: tuple[int, int] = (0, 0)
    prefix: int = 0
    overwritten: bool = False
    before: bool = False

    @property
    def name(self) -> str:
        """What recipes and passes call it: the path, or "before PATH"."""
        return f"{BEFORE}{self.path}" if self.before else self.path

    def as_map(self, values: Tensor) -> Tensor:
        """The module's output or input as (B, C, h, w)."""
        if self.layout == "NHWC":
            return values.permute(0, 3, 1, 2)
        if self.layout == "tokens":
            return values[:, self.prefix :].transpose(1, 2).unflatten(2, self.grid)
        return values


@dataclass(frozen=True)
class Values:
    """What went into a module or came out of it, when it returned.

    Attributes:
        tensor: None where it is no tensor with a first dimension of the batch.
        found: what it is, in words.
        node: that made it, in the graph of the logits.
        version: of the tensor.
    """

    tensor: Tensor | None
    found: str
    node: Any
    version: int

    @classmethod
    def of(cls, found: object) -> Self:
        """As it is now."""
        tensor = found if isinstance(found, Tensor) and found.ndim > 1 and len(found) == _IMAGES else None
        node, version = (None, 0) if tensor is None else (tensor.grad_fn, tensor._version)
        return cls(tensor, described_values(found), node, version)


@dataclass(frozen=True)
class Output:
    """The last call of a module in one forward.

    Attributes:
        path, module: which.
        values: its output.
        given: its first input.
        calls: of the module.
        learned: whether a module with parameters had returned by then.
    """

    path: str
    module: nn.Module
    values: Values
    given: Values
    calls: int
    learned: bool


class Trunk:
    """One forward of a copy of a network in eval mode, as a graph from the logits to the images.

    Args:
        network: left as it is.
        preprocess: its input convention.

    Attributes:
        outputs: path to output, in the order in which the modules returned last.

    Raises:
        XkdError: the network fails on its images.
    """

    def __init__(self, network: nn.Module, preprocess: Preprocess) -> None:
        self.outputs: dict[str, Output] = {}
        self._size = preprocess.size
        self._learned = False
        copy = working_copy(network)
        keep_activations(copy)
        images = random_images(preprocess, _SEED, _IMAGES).requires_grad_()
        modules = {path: module for path, module in copy.named_modules() if path and takes_hooks(module)}
        failure = reading("size: the network fails on its images", "give another `size`")
        with torch.enable_grad(), ForwardHooks(modules, self._keep), failure:
            logits = copy(images)
        self._root = logits.grad_fn if isinstance(logits, Tensor) else None
        self._images = images
        self._reaches_images = self._reached(None)

    def values(self, name: str) -> Values | None:
        """What a module put out, or of "before PATH" what it was given; None where it did not run."""
        output = self.outputs.get(name.removeprefix(BEFORE))
        if output is None:
            return None
        return output.given if name.startswith(BEFORE) else output.values

    def tap(self, name: str) -> Tap | None:
        """How a module's output, or of "before PATH" its input, is read as a map; None where it is none."""
        values = self.values(name)
        if values is None or values.tensor is None:
            return None
        tensor, overwritten = values.tensor, values.tensor._version != values.version
        path, before = name.removeprefix(BEFORE), name.startswith(BEFORE)
        if tensor.ndim == 4:
            layout = map_layout(tensor, self._size)
            height, width = tensor.shape[2:] if layout == "NCHW" else tensor.shape[1:3]
            return Tap(path, layout, (height, width), 0, overwritten, before)
        grid = self._grid(path, tensor) if tensor.ndim == 3 else None
        if grid is None:
            return None
        return Tap(path, "tokens", grid, tensor.shape[1] - math.prod(grid), overwritten, before)

    def cuts(self) -> Iterator[tuple[Output, Tap]]:
        """The maps of more than one place that all of the logits come through, in order.

        Each is of a module that is called once: without its node in the graph no path leads to the images.
        """
        for output in self.outputs.values() if self._reaches_images else ():
            if output.calls == 1 and output.learned and output.values.node is not None:
                tap = self.tap(output.path)
                if tap is not None and math.prod(tap.grid) > 1 and not self._reached(output.values.node):
                    yield output, tap

    def _keep(self, path: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        former = self.outputs.pop(path, None)
        self._learned = self._learned or next(module.parameters(), None) is not None
        given = Values.of(inputs[0] if inputs else None)
        calls = 1 if former is None else former.calls + 1
        self.outputs[path] = Output(path, module, Values.of(output), given, calls, self._learned)

    def _reached(self, without: Any) -> bool:
        """Whether a path of the graph leads from the logits to the images, other than through a node."""
        left: list[Any] = [self._root]
        met: set[Any] = {without, None}
        while left:
            node = left.pop()
            if node in met:
                continue
            met.add(node)
            if getattr(node, "variable", None) is self._images:
                return True
            left += [following for following, _ in node.next_functions]
        return False

    def _grid(self, path: str, tokens: Tensor) -> tuple[int, int] | None:
        """(h, w) of tokens: that of the last map before them that has as many places, or by the image's proportions."""
        count, found = tokens.shape[1], None
        for output in self.outputs.values():
            if output.path == path:
                break
            if output.values.tensor is not None and output.values.tensor.ndim == 4:
                tap = self.tap(output.path)
                assert tap is not None
                if 0 <= count - math.prod(tap.grid) <= MOST_PREFIX_TOKENS and math.prod(tap.grid) > 1:
                    found = tap.grid
        return found or grid_of(count, self._size)


def spread(paths: Sequence[Tap], count: int) -> list[Tap]:
    """At most `count` of some taps, evenly spread, the last among them."""
    count = min(count, len(paths))
    return [paths[(number + 1) * len(paths) // count - 1] for number in range(count)]


def keep_activations(network: nn.Module) -> None:
    """A tap before an activation that works in place would be overwritten by it."""
    for module in network.modules():
        if getattr(module, "inplace", False) and takes_hooks(module):  # a scripted one's is a constant
            module.inplace = False  # type: ignore[assignment]
