"""What passes through a network on its way from the last spatial map to the logits."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from xkd_eval.classifiers.copies import copied, without_checkpointing
from xkd_eval.classifiers.hooks import ForwardHooks, takes_hooks
from xkd_eval.classifiers.outputs import is_binary
from xkd_eval.classifiers.proof.cosine import matrices
from xkd_eval.classifiers.proof.linear import linear_weights
from xkd_eval.errors import XkdError

# Later outputs are tried first, and earlier ones of a large network would fill the memory.
_KEPT = 64


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
        logits: (B, K), as the network itself makes them: one of a network of one logit.
        outputs: path to the output of its last call, 4-D or (B, N, C), in the order of the calls; of more than one
            position each.
        vector_calls: calls of modules on one vector an image, in order.
        after_map: paths of the layers with parameters that were called after the last 4-D output.
        token_layers, map_layers: how many calls of layers with parameters put out (B, N, C) and 4-D outputs.
        ends_in_tokens: whether tokens came after the last 4-D output.
        matrices: parameters and buffers that have a row, or a column, a class, by path.
    """

    logits: Tensor
    outputs: dict[str, Tensor] = field(default_factory=dict)
    vector_calls: list[Call] = field(default_factory=list)
    after_map: list[str] = field(default_factory=list)
    map_layers: int = 0
    token_layers: int = 0
    ends_in_tokens: bool = False
    matrices: dict[str, Tensor] = field(default_factory=dict)

    @property
    def is_token_model(self) -> bool:
        """Most of its work is done on tokens (ViT), other than in a convolutional network with an attention pool."""
        return self.ends_in_tokens and self.token_layers > self.map_layers

    @property
    def feature_maps(self) -> dict[str, Tensor]:
        """The 4-D outputs."""
        return {path: output for path, output in self.outputs.items() if output.ndim == 4}

    @property
    def tokens(self) -> Tensor | None:
        """The last (B, N, C)."""
        return next((output for output in reversed(self.outputs.values()) if output.ndim == 3), None)

    @property
    def heads(self) -> list[Call]:
        """The Linear layers and 1x1 convolutions whose output is the logits, latest first."""
        return [
            call
            for call in reversed(self.vector_calls)
            if call.output.shape == self.logits.shape
            and torch.allclose(call.output, self.logits, rtol=1e-5, atol=1e-6)
            and linear_weights(call.module) is not None
        ]


def working_copy(model: nn.Module, *, shared: bool = True) -> nn.Module:
    """A copy to experiment on: eval mode, float32, on the CPU, where the arithmetic is the same on every machine.

    Args:
        model: left as it was.
        shared: parameters are the model's own where they are float32 on the CPU already; otherwise they may be
            written to.
    """
    own = [
        parameter
        for parameter in model.parameters()
        if shared and parameter.device.type == "cpu" and parameter.dtype == torch.float32
    ]
    return without_checkpointing(copied(model, own)).cpu().float().eval()


def trace(model: nn.Module, images: Tensor) -> Trace:
    """Run `model` once on `images` (B, 3, H, W) and keep what `Trace` lists.

    Hooks are removed again. Outputs are kept as they were when their module returned, even where a later layer works
    on them in place.

    Raises:
        XkdError: the model rejects images of this size, or puts out no (B, K) logits.
    """
    found = Trace(logits=torch.empty(0))
    modules = {path: module for path, module in model.named_modules() if takes_hooks(module)}
    try:
        with ForwardHooks(modules, partial(_record, found, len(images))), torch.no_grad():
            logits = model(images)
    except (RuntimeError, ValueError, TypeError, AssertionError, IndexError, AttributeError) as error:
        height, width = images.shape[2:]
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise XkdError(f"size: the model rejects images of {height}x{width}: {reason}") from None
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(images):
        raise XkdError(f"model: its output is {_describe(logits)}; a classifier puts out logits (B, K)")
    if is_binary(model):
        logits = 2 * logits[:, 1:]
    found.logits, found.matrices = logits, matrices(model, logits.shape[1])
    return found


def _record(found: Trace, batch: int, path: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
    if not isinstance(output, Tensor) or output.ndim < 2 or len(output) != batch:
        return
    is_layer = next(module.parameters(recurse=False), None) is not None
    if output.ndim == 4 and _vector(output) is None:
        _keep(found, path, output)
        found.map_layers += is_layer
        found.after_map.clear()
        found.ends_in_tokens = False
        return
    if is_layer:
        found.after_map.append(path)
    if output.ndim == 3 and output.shape[1] > 1:
        _keep(found, path, output)
        found.token_layers += is_layer
        found.ends_in_tokens = True
    elif inputs and isinstance(inputs[0], Tensor):
        given, put_out = _vector(inputs[0]), _vector(output)
        if given is not None and put_out is not None:
            found.vector_calls.append(Call(path, module, given, put_out))


def _keep(found: Trace, path: str, output: Tensor) -> None:
    found.outputs.pop(path, None)
    found.outputs[path] = output.dequantize() if output.is_quantized else output.clone()
    if len(found.outputs) > _KEPT:
        del found.outputs[next(iter(found.outputs))]


def _vector(tensor: Tensor) -> Tensor | None:
    """(B, C) of a tensor with a single place: (B, C), (B, C, 1, 1) or (B, 1, 1, C)."""
    if tensor.ndim == 2 or (tensor.ndim == 4 and min(tensor.shape[2:].numel(), tensor.shape[1:3].numel()) == 1):
        plain = tensor.dequantize() if tensor.is_quantized else tensor
        return plain.flatten(1).clone()
    return None


def _describe(output: Any) -> str:
    return f"a tensor {tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
