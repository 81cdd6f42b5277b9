"""A network that explains the images of its pass, in the graph of its parameters, by any explainer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.errors import ExplainerError
from xkd_eval.explainers import Context, Explainer


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Explaining:
    """A network that is run once more on the images of its pass, as it is: a student in training mode.

    Attributes:
        classifier: the network.
        images: (B, C, H, W), normalised for it.
        places: (K,) where it has each of the pass's classes; None where these are its own.
        done: called after each explanation.
    """

    classifier: Classifier
    images: Tensor
    places: Tensor | None = None
    done: Callable[[], None] = _nothing

    def __call__(self, explainer: Explainer, classes: Tensor, features: Tensor | None = None) -> Tensor:
        """Explain one class of each image.

        The network's buffers stay what they are, so that no batch counts twice in its batch norms' statistics.

        Args:
            explainer: whose `differentiable` is called.
            classes: (B,) of the pass.
            features: (B, C, h, w), the pass's own, if it has them; an explainer that reads them makes no forward.

        Returns:
            (B, h, w), in the graph of the network's parameters.

        Raises:
            ExplainerError: the explainer made something else.
        """
        classes = classes if self.places is None else self.places[classes]
        context = Context(features=features if explainer.reads_features else None)
        try:
            with _twice_differentiable(classes.device), _own_buffers(self.classifier):
                maps = explainer.differentiable(self.classifier, self.images, classes, context)
        finally:
            self.done()
        if not isinstance(maps, Tensor) or maps.ndim != 3 or len(maps) != len(classes):
            found = tuple(maps.shape) if isinstance(maps, Tensor) else f"a {type(maps).__name__}"
            raise ExplainerError(
                f"explainer '{explainer.name}': its `differentiable` made {found}; expected ({len(classes)}, h, w)"
            )
        return maps

    def of(self, places: Tensor) -> Explaining:
        """The same of a pass whose classes (K,) are these of the network's."""
        return replace(self, places=places)


@contextmanager
def _twice_differentiable(device: torch.device) -> Iterator[None]:
    """A gradient of what gradients make: fused attention has none, and half of the digits would be too few."""
    with torch.autocast(device.type, enabled=False), torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        yield


@contextmanager
def _own_buffers(network: nn.Module) -> Iterator[None]:
    """Within it a network has copies of its buffers; nothing is written to its own, on which a graph may depend."""
    kept = [(module._buffers, dict(module._buffers)) for module in network.modules()]
    try:
        for held, buffers in kept:
            held.update({name: None if buffer is None else buffer.clone() for name, buffer in buffers.items()})
        yield
    finally:
        for held, buffers in kept:
            held.update(buffers)
