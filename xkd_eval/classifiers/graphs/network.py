"""GraphNetwork: a graph as a module, so that whatever looks into networks by hooks finds the last map in it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from xkd_eval.classifiers.graphs.affine import AffineHead, Norm
from xkd_eval.classifiers.graphs.graph import Graph, Session
from xkd_eval.classifiers.proof.places import Reading, as_map
from xkd_eval.classifiers.proof.steps import Step, moved
from xkd_eval.errors import XkdError

NORM = Step("layer norm", "norm")
"""What may stand between pool and head of a graph."""


class GraphNetwork(nn.Module):
    """A graph that its own engine runs on the CPU, wherever the images are; nothing in it can be differentiated.

    Copies share the engine's session, which threads may run at the same time. Logits and map are two outputs of it.

    Args:
        graph: as read from a file.

    Attributes:
        features: called with the last spatial map (B, C, h, w) float32 of every forward, once there is one. What a hook
            puts in its place reaches the logits through `head`, where the CAM is proven.
        head: the Linear that the class activation maps are computed with, of the graph's own numbers; an Identity where
            the map's channels are the classes, or where there is no CAM.
        norm: the LayerNorm between pool and head, or an Identity.
        graph: as given.
        shown: the name of the tensor that is the map, and how it is read; None where there is none.
        is_proven: the logits follow from the map by `norm` and `head`.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.features = nn.Identity()
        self.head: nn.Module = nn.Identity()
        self.norm: nn.Module = nn.Identity()
        self.graph = graph
        self.is_proven = False
        self.shown: tuple[str, Reading] | None = None
        self._session: Session = graph.session([graph.logits])

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know about how the graph was read."""
        return self.graph.notes

    @property
    def n_parameters(self) -> int:
        """How many numbers the graph's weights are."""
        return self.graph.n_parameters

    @property
    def stages(self) -> tuple[str, ...]:
        """The modules whose outputs are maps on the way, as a network may say it of itself: the last one, if any."""
        return () if self.shown is None else ("features",)

    def show_map(self, name: str, reading: Reading) -> None:
        """Let every forward give the tensor of this name to `features`, too."""
        self._session = self.graph.session([self.graph.logits, name])
        self.shown = name, reading

    def hide_map(self) -> None:
        """Compute the logits alone."""
        self._session = self.graph.session([self.graph.logits])
        self.shown = None

    def take_head(self, head: AffineHead | None) -> None:
        """Make `head` and `norm` of the graph's own numbers; Identities of None, and of a head without a weight."""
        self.head, self.norm = nn.Identity(), nn.Identity()
        if head is None or head.weight is None:
            return
        self.head = ReadLinear(head.weight, np.broadcast_to(head.bias, (len(head.weight),)))
        if head.norm is not None:
            self.norm = ReadLayerNorm(head.norm)

    def forward(self, images: Tensor) -> Tensor:
        """Classify.

        Args:
            images: (B, 3, H, W) normalised, on any device.

        Returns:
            (B, K) float32 logits, there.

        Raises:
            XkdError: a size that the graph does not take, or what its engine says.
        """
        logits, given = self.logits_and_map(images)
        if given is None:
            return logits
        seen = self.features(given)
        return logits if seen is given or torch.equal(seen, given) else self._logits_of(seen)

    def logits_and_map(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """What `forward` gives, and what it calls `features` with: (B, C, h, w), or None before there is a map."""
        self._check_size(images)
        found = [_tensor(array, images) for array in self._session(images.detach().cpu().numpy())]
        logits = self._logits(found[0], images)
        if self.shown is None:
            return logits, None
        return logits, as_map(found[1], self.shown[1], (images.shape[2], images.shape[3])).contiguous()

    def get_extra_state(self) -> dict[str, str]:
        """What tells this graph from others: it is a part of every digest."""
        return {"sha256": self.graph.digest, "logits": self.graph.logits}

    def set_extra_state(self, state: Any) -> None:
        """Raise XkdError unless the state is of this graph: weights of another cannot be put into it."""
        if state != self.get_extra_state():
            raise XkdError(f"weights: they are of another file than {self.graph.where.partition(': ')[2]}; load that")

    def _logits_of(self, features: Tensor) -> Tensor:
        if not self.is_proven:
            raise XkdError(f"{self.graph.where} does not say how its logits follow from its last map; use occlusion")
        if isinstance(self.norm, nn.LayerNorm):
            features = moved(features, NORM, self)
        return self.head(features.mean((2, 3)))

    def _check_size(self, images: Tensor) -> None:
        for found, taken in zip(images.shape[2:], self.graph.given.size, strict=True):
            if taken not in (found, None):
                height, width = ("any" if side is None else side for side in self.graph.given.size)
                file = self.graph.where.partition(": ")[2]
                raise XkdError(
                    f"size: {images.shape[2]}x{images.shape[3]} found, and {file} takes {height}x{width} alone; "
                    "leave it out, or export the network for that size"
                )

    def _logits(self, found: Tensor, images: Tensor) -> Tensor:
        if found.ndim > 1 and len(found) != len(images):
            raise XkdError(
                f"{self.graph.where} answers {len(images)} images with {tuple(found.shape)}; export it for any number "
                "of images, or for one at a time"
            )
        if found.ndim < 2 or found[0].numel() != max(found.shape[1:]):
            raise XkdError(
                f"{self.graph.where}: its output {self.graph.logits!r} is {tuple(found.shape)}; a classifier puts out "
                "logits (B, K): say which one does, as MODEL,output=NAME does"
            )
        return found.flatten(1)


class ReadLinear(nn.Linear):
    """Numbers read from a graph: (K, C) weight and (K,) bias. They cannot be drawn anew, as the graph keeps its own."""

    reset_parameters = None  # type: ignore[assignment]

    def __init__(self, weight: np.ndarray, bias: np.ndarray) -> None:
        nn.Module.__init__(self)
        self.out_features, self.in_features = weight.shape
        self.weight, self.bias = _parameter(weight), _parameter(bias)


class ReadLayerNorm(nn.LayerNorm):
    """The same of a LayerNorm over (B, C)."""

    reset_parameters = None  # type: ignore[assignment]

    def __init__(self, norm: Norm) -> None:
        nn.Module.__init__(self)
        self.normalized_shape, self.eps, self.elementwise_affine = norm.weight.shape, norm.eps, True
        self.weight, self.bias = _parameter(norm.weight), _parameter(norm.bias)


def _parameter(values: np.ndarray) -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(np.array(values, dtype=np.float32)), requires_grad=False)


def _tensor(array: np.ndarray, images: Tensor) -> Tensor:
    return torch.from_numpy(array.astype(np.float32, copy=False)).to(images.device)
