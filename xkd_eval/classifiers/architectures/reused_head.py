"""A network that ends in a projector and another network's head, as SimKD trains it (Chen et al., CVPR 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from xkd_eval.classifiers.hooks import ForwardHooks
from xkd_eval.classifiers.outputs import listed_stages
from xkd_eval.classifiers.proof.places import Layout, Reading, as_map
from xkd_eval.errors import XkdError


class ReusedHead(nn.Module):
    """The last map of a network, projected to the channels of another one's, whose linear head is on its average.

    Args:
        backbone: the network; its own head is taken out of it.
        num_classes: K.
        features: path of its module whose output is the last map.
        inputs: channels of that map.
        channels: of the projected one.
        hidden: channels within the projector.
        size: (h, w) that the map is averaged to before it is projected; None leaves it.
        linear: path of the network's own head; None where that is no single layer, and stays.
        layout, prefix, relu: how the output of `features` is read, as in CamHead.

    Raises:
        XkdError: the network has no such module.
    """

    def __init__(
        self,
        backbone: nn.Module,
        num_classes: int,
        features: str,
        inputs: int,
        channels: int,
        hidden: int,
        size: Sequence[int] | None = None,
        linear: str | None = None,
        layout: Layout = "NCHW",
        prefix: int = 0,
        relu: bool = False,
    ) -> None:
        super().__init__()
        _check_paths(backbone, features, linear)
        self.backbone = backbone
        if linear is not None:
            backbone.set_submodule(linear, nn.Identity())
        self.projector = projector(inputs, channels, hidden)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(channels, num_classes)
        self._reading, self._relu = Reading(layout, prefix), relu
        self._size = None if size is None else (int(size[0]), int(size[1]))
        self._seen: list[Tensor] = []
        # For good, so that a compiled or exported network is traced with it.
        ForwardHooks({features: backbone.get_submodule(features)}, self._see).__enter__()

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that the network within lists; () where it lists none."""
        return tuple(f"backbone.{path}" for path in listed_stages(self.backbone))

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) normalised -> (B, K) logits."""
        self._seen.clear()
        self.backbone(images)
        features = as_map(self._seen.pop(), self._reading, (images.shape[2], images.shape[3]))
        if self._relu:
            features = F.relu(features)
        if self._size is not None:
            features = F.adaptive_avg_pool2d(features, self._size)
        return self.linear(self.pool(self.projector(features)).flatten(1))

    def _see(self, path: str, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        self._seen.append(output)


def reused_head(num_classes: int, backbone: str, arguments: Mapping[str, Any], **rest: Any) -> ReusedHead:
    """A ReusedHead around a randomly initialised network.

    Args:
        num_classes: K.
        backbone: the network's architecture, as Checkpoint has it.
        arguments: the network's keyword arguments.
        rest: as ReusedHead takes them.

    Raises:
        XkdError: no such architecture, argument or module.
    """
    from xkd_eval.classifiers.sources import build_architecture  # which makes its networks by this folder

    return ReusedHead(build_architecture(backbone, arguments, "model: the architecture"), num_classes, **rest)


def projector(inputs: int, channels: int, hidden: int) -> nn.Sequential:
    """1x1, 3x3 and 1x1 convolutions, each with batch norm and ReLU: (B, inputs, h, w) -> (B, channels, h, w)."""
    return nn.Sequential(
        *_convolution(inputs, hidden, 1), *_convolution(hidden, hidden, 3), *_convolution(hidden, channels, 1)
    )


def _convolution(inputs: int, outputs: int, side: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, side, padding=side // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()


def _check_paths(network: nn.Module, *paths: str | None) -> None:
    known = dict(network.named_modules())
    for path in paths:
        if path is not None and path not in known:
            raise XkdError(f"architecture: reused_head: {type(network).__name__} has no module {path!r:.100}")
