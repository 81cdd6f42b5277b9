"""Layers that take the range of their integers over a batch: run image by image, so that an answer is of its image."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_HOME = ".quantized.dynamic"


class ImageByImage(nn.Module):
    """A dynamically quantised layer, called on one image at a time.

    Args:
        layer: of torch.ao.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, values: Tensor) -> Tensor:
        """(B, ...) -> (B, ...)."""
        return torch.cat([self.layer(part) for part in values.split(1)])

    def weight(self) -> Tensor:
        """The layer's, quantised."""
        found: Tensor = self.layer.weight()  # type: ignore[operator]
        return found

    def bias(self) -> Tensor | None:
        """The layer's."""
        found: Tensor | None = self.layer.bias()  # type: ignore[operator]
        return found


def image_by_image(network: nn.Module) -> nn.Module:
    """A network whose dynamically quantised linear layers are called on one image at a time; changed in place."""
    within = {id(module.layer) for module in network.modules() if isinstance(module, ImageByImage)}
    found = [path for path, module in network.named_modules() if _is_dynamic(module) and id(module) not in within]
    for path in found:
        layer = ImageByImage(network.get_submodule(path))
        if not path:
            return layer
        network.set_submodule(path, layer)
    return network


def _is_dynamic(module: nn.Module) -> bool:
    return _HOME in type(module).__module__ and callable(getattr(module, "weight", None))
