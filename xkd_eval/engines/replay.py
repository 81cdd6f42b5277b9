"""Forwards of a network whose layers change meanwhile: each starts from the last place that the change leaves alone."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.hooks import ForwardHooks
from xkd_eval.classifiers.proof.probes import random_images

_PROBE_SEED = 6
_TOLERANCE = 1e-5


@dataclass
class _Call:
    """When a module was first entered and last left, in one forward."""

    entered: int
    left: int = -1
    output: Tensor | None = None
    count: int = 0


@dataclass
class Replay:
    """A network's forwards over the same images, before and after some of its layers were changed.

    A module is a cut if all that the network makes of an image goes through its output. Where the output of a cut is
    known, what comes before it need not run again. That a module is one is proven on random images: with what it puts
    out for one image in its place, the network gives the features of that image for any other.

    Args:
        classifier: a private one with a CAM head. Whoever replays it writes to its layers.

    Example:
        >>> import torch
        >>> from xkd_eval import load_classifier
        >>> classifier = load_classifier("embedded/kd").private()
        >>> images, replay = torch.rand(2, 3, 40, 40), Replay(classifier)
        >>> cut = replay.cut_before(["layer3.0.conv1"])
        >>> cut
        'layer2'
        >>> with torch.no_grad():
        ...     first, kept = replay.features(images, keeping=[cut])
        ...     _ = classifier.model.layer3[0].conv1.weight.zero_()
        ...     second, _ = replay.features(images, kept, cut)
        ...     torch.equal(second, classifier.forward_with_features(images).features)
        True
    """

    classifier: Classifier
    _calls: dict[str, _Call] = field(init=False, default_factory=dict)
    _probe: Tensor = field(init=False)
    _expected: Tensor = field(init=False)
    _proven: dict[str, bool] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        device = next(self.classifier.parameters()).device
        self._probe = random_images(self.classifier.preprocess, _PROBE_SEED).to(device)
        with torch.no_grad(), self._observed():
            self._expected = self.classifier.forward_with_features(self._probe).features

    def leaves_features(self, layers: Collection[str]) -> bool:
        """Whether the features are made before any of the layers runs, so that they stay as they are."""
        head = self.classifier.head
        assert head is not None
        # A step behind the features is applied to them by `cam_features`, wherever the network applies it.
        first, moved = self._first_of(layers), {path for step in head.steps for path in step.paths}
        return first is None or (moved.isdisjoint(layers) and self._calls[head.features].left < first)

    def cut_before(self, layers: Collection[str]) -> str | None:
        """The last cut that is left before any of the layers runs; None where there is none.

        Args:
            layers: paths of modules.
        """
        first = self._first_of(layers)
        if first is None:
            return None
        head = self.classifier.head
        assert head is not None
        last = min(first - 1, self._calls[head.features].left)  # what follows the features makes none
        earlier = [path for path, call in self._calls.items() if call.left <= last and self._may_be_cut(path)]
        for path in sorted(earlier, key=lambda path: self._calls[path].left, reverse=True):
            if self._is_cut(path):
                return path
        return None

    def features(
        self,
        images: Tensor,
        kept: Mapping[str, Tensor] | None = None,
        start: str | None = None,
        *,
        keeping: Collection[str] = (),
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The features of images, by the network as it is now.

        Args:
            images: (n, 3, H, W) normalised.
            kept: outputs of cuts for these images.
            start: the cut among them from which the forward starts; None runs all of it.
            keeping: cuts whose outputs are kept.

        Returns:
            (n, C, h, w), see Classifier.cam_features, and the outputs of `keeping` that this forward came by.
        """
        found: dict[str, Tensor] = {}

        def keep(path: str, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
            found[path] = output.clone()  # what follows may work in place

        after = -1 if start is None else self._calls[start].left
        modules = {path: self._module(path) for path in keeping if self._calls[path].left > after}
        with torch.no_grad(), self._started(start, kept or {}), ForwardHooks(modules, keep):
            return self.classifier.forward_with_features(images).features, found

    def _first_of(self, layers: Collection[str]) -> int | None:
        """When the first of the layers may be read; None of none."""
        return min(map(self._reached, layers), default=None)

    def _reached(self, path: str) -> int:
        """When a module is entered. One that is not called may still be read, by the nearest that holds it."""
        while path and path not in self._calls:  # as torch's attention reads the weights of its last layer
            path = path.rpartition(".")[0]
        return self._calls[path].entered if path else 0

    def _module(self, path: str) -> nn.Module:
        return self.classifier.model.get_submodule(path)

    def _may_be_cut(self, path: str) -> bool:
        """Blocks, and layers of a sequence: few enough to try, and each more likely than a layer within a block."""
        call, parent = self._calls[path], path.rpartition(".")[0]
        listed = isinstance(self._module(parent), nn.Sequential | nn.ModuleList)
        inner = any(next(child.parameters(), None) is not None for child in self._module(path).children())
        return (listed or inner) and call.count == 1 and call.output is not None and call.output.ndim > 2

    def _is_cut(self, path: str) -> bool:
        if path not in self._proven:
            output = self._calls[path].output
            assert output is not None
            other = self._probe.flip(0, 2)
            try:
                found = self.features(other, {path: output}, path)[0]
            except (RuntimeError, ValueError, TypeError, IndexError, AttributeError):  # it needs what was left out
                self._proven[path] = False
            else:
                error = (found - self._expected).abs().max()
                self._proven[path] = bool(error <= _TOLERANCE * self._expected.abs().max())
        return self._proven[path]

    @contextmanager
    def _started(self, start: str | None, kept: Mapping[str, Tensor]) -> Iterator[None]:
        """Within it the forward gets as far as a cut at no price: what comes before puts out zeros of its shape."""
        replaced: list[nn.Module] = []
        try:
            if start is not None:
                known = kept[start]
                for path in self._skipped(start):
                    module, output = self._module(path), self._calls[path].output
                    assert output is not None
                    module.forward = partial(_zeros, known, tuple(output.shape[1:]))
                    replaced.append(module)
                cut = self._module(start)
                cut.forward = lambda *given, **named: known.clone()
                replaced.append(cut)
            yield
        finally:
            for module in replaced:
                del module.forward

    def _skipped(self, start: str) -> Sequence[str]:
        """The outermost modules that are done before a cut is entered."""
        entered = self._calls[start].entered
        done = {path for path, call in self._calls.items() if call.left < entered and call.output is not None}
        return [path for path in done if not any(path.startswith(f"{other}.") for other in done)]

    @contextmanager
    def _observed(self) -> Iterator[None]:
        """Notes of each module's calls what `_Call` says."""
        clock = iter(range(1 << 62))
        handles = []
        for path, module in self.classifier.model.named_modules():
            if path:
                handles.append(module.register_forward_pre_hook(partial(self._enter, path, clock)))
                handles.append(module.register_forward_hook(partial(self._leave, path, clock)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, path: str, clock: Iterator[int], module: nn.Module, inputs: Any) -> None:
        self._calls.setdefault(path, _Call(next(clock)))

    def _leave(self, path: str, clock: Iterator[int], module: nn.Module, inputs: Any, output: Any) -> None:
        call = self._calls[path]
        call.left, call.count = next(clock), call.count + 1
        fits = isinstance(output, Tensor) and output.ndim > 0 and len(output) == len(self._probe)
        call.output = output.clone() if fits else None


def _zeros(like: Tensor, shape: tuple[int, ...], *given: Any, **named: Any) -> Tensor:
    return like.new_zeros((len(like), *shape))
