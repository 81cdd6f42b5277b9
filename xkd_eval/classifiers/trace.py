"""What passes through a network on its way from the last spatial map to the logits."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from xkd_eval.classifiers.copies import copied
from xkd_eval.classifiers.hooks import ForwardHooks
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.errors import XkdError

Layout = Literal["NCHW", "NHWC"]

# Later maps are tried first, and earlier ones of a large network would fill the memory.
_KEPT_MAPS = 32


class Call(NamedTuple):
    """One call of a module on vectors, input and output as (B, C)."""

    path: str
    module: nn.Module
    input: Tensor
    output: Tensor


@dataclass
class Trace:
    """One forward of a few images.

    Attributes:
        logits: (B, K).
        feature_maps: path to the 4-D output of its last call, in the order of the calls; more than one position each.
        vector_layers: Linear, 1x1 convolutions and LayerNorms that were called on one vector an image, in order.
        after_map: paths of the layers with parameters that were called after the last map.
        tokens: (B, N, C), the last such output where none of `feature_maps` came after it; else None.
        map_layers, token_layers: how many calls of layers with parameters put out (B, C, h, w) and (B, N, C).
    """

    logits: Tensor
    feature_maps: dict[str, Tensor] = field(default_factory=dict)
    vector_layers: list[Call] = field(default_factory=list)
    after_map: list[str] = field(default_factory=list)
    tokens: Tensor | None = None
    map_layers: int = 0
    token_layers: int = 0

    @property
    def is_token_model(self) -> bool:
        """Most of its work is done on tokens (ViT), other than in a convolutional network with an attention pool."""
        return self.tokens is not None and self.token_layers > self.map_layers

    @property
    def heads(self) -> list[Call]:
        """The Linear layers and 1x1 convolutions whose output is the logits, latest first."""
        return [
            call
            for call in reversed(self.vector_layers)
            if not isinstance(call.module, nn.LayerNorm)
            and call.output.shape == self.logits.shape
            and torch.allclose(call.output, self.logits, rtol=1e-5, atol=1e-6)
        ]

    @property
    def norms(self) -> list[Call]:
        """The LayerNorms over one vector an image, latest first."""
        return [call for call in reversed(self.vector_layers) if isinstance(call.module, nn.LayerNorm)]


def working_copy(model: nn.Module) -> nn.Module:
    """A copy to experiment on: eval mode, float32, on the CPU, where the arithmetic is the same on every machine.

    Norms may be written to. Other parameters are the model's own, where they are float32 on the CPU already.
    """
    own = {id(parameter) for norm in norms(model) for parameter in norm.parameters(recurse=False)}
    shared = [
        parameter
        for parameter in model.parameters()
        if id(parameter) not in own and parameter.device.type == "cpu" and parameter.dtype == torch.float32
    ]
    return copied(model, shared).cpu().float().eval()


def norms(model: nn.Module) -> list[nn.Module]:
    """Its normalisation layers, whatever library they are from, told by the names of their classes."""
    return [module for module in model.modules() if "norm" in type(module).__name__.lower()]


def random_images(preprocess: Preprocess, seed: int, count: int = 2) -> Tensor:
    """(count, 3, H, W) normalised: white noise on coarse blobs, so that maps differ from place to place."""
    generator = torch.Generator().manual_seed(seed)
    blobs = torch.rand(count, 3, 4, 4, generator=generator)
    blobs = nn.functional.interpolate(blobs, size=preprocess.size, mode="bilinear")
    noise = torch.rand(count, 3, *preprocess.size, generator=generator)
    return preprocess.normalise(0.6 * blobs + 0.4 * noise)


def trace(model: nn.Module, images: Tensor) -> Trace:
    """Run `model` once on `images` (B, 3, H, W) and keep what `Trace` lists.

    Hooks are removed again. Outputs are kept as they were when their module returned, even where a later layer works
    on them in place.

    Raises:
        XkdError: the model rejects images of this size, or puts out no (B, K) logits.
    """
    found = Trace(logits=torch.empty(0))
    try:
        with ForwardHooks(dict(model.named_modules()), partial(_record, found, len(images))), torch.no_grad():
            logits = model(images)
    except (RuntimeError, ValueError, TypeError, AssertionError, IndexError, AttributeError) as error:
        height, width = images.shape[2:]
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise XkdError(f"size: the model rejects images of {height}x{width}: {reason}") from None
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(images):
        raise XkdError(f"model: its output is {_describe(logits)}; a classifier puts out logits (B, K)")
    found.logits = logits
    return found


def map_layout(output: Tensor, size: tuple[int, int]) -> Layout:
    """Which axes of a 4-D output are the places: those in the proportion of the input's height and width."""

    def distortion(height: int, width: int) -> float:
        return abs(height * size[1] / (width * size[0]) - 1)

    _, first, second, third = output.shape
    return "NHWC" if distortion(first, second) < distortion(second, third) else "NCHW"


def as_nchw(output: Tensor, layout: Layout) -> Tensor:
    """(B, C, h, w) of an output in either layout."""
    return output.permute(0, 3, 1, 2) if layout == "NHWC" else output


def _record(found: Trace, batch: int, path: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
    if not isinstance(output, Tensor) or output.ndim < 2 or len(output) != batch:
        return
    is_layer = next(module.parameters(recurse=False), None) is not None
    if output.ndim == 4 and _vector(output) is None:
        _record_map(found, path, output)
        found.map_layers += is_layer
        return
    if is_layer:
        found.after_map.append(path)
    if output.ndim == 3 and output.shape[1] > 1:
        found.tokens = output
        found.token_layers += is_layer
    elif inputs and isinstance(inputs[0], Tensor) and _is_vector_layer(module):
        _record_vector(found, Call(path, module, inputs[0], output))


def _record_map(found: Trace, path: str, output: Tensor) -> None:
    found.feature_maps.pop(path, None)
    found.feature_maps[path] = output.clone()
    if len(found.feature_maps) > _KEPT_MAPS:
        del found.feature_maps[next(iter(found.feature_maps))]
    found.after_map.clear()
    found.tokens = None


def _record_vector(found: Trace, call: Call) -> None:
    given, output = _vector(call.input), _vector(call.output)
    if given is not None and output is not None:
        found.vector_layers.append(call._replace(input=given, output=output))


def _is_vector_layer(module: nn.Module) -> bool:
    if isinstance(module, nn.Conv2d):
        return module.kernel_size == (1, 1) and module.groups == 1
    return isinstance(module, nn.Linear | nn.LayerNorm)


def _vector(tensor: Tensor) -> Tensor | None:
    """(B, C) of a tensor with a single place: (B, C), (B, C, 1, 1) or (B, 1, 1, C)."""
    if tensor.ndim == 2 or (tensor.ndim == 4 and min(tensor.shape[2:].numel(), tensor.shape[1:3].numel()) == 1):
        return tensor.flatten(1).clone()
    return None


def _describe(output: Any) -> str:
    return f"a tensor {tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
