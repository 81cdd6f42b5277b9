"""A copy of a network whose weights are of ordinary size, so that every layer counts.

A network that was just built hides what it is: LayerScale near zero, a last gamma of zero or a head near zero let its
blocks pass for the identity, and a wrong candidate for its map with them.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from xkd_eval.classifiers.proof.steps import running_statistics
from xkd_eval.classifiers.proof.trace import Trace, trace, working_copy

_SHARES = (1.0, 0.3, 0.1)  # of the noise, tried in turn where the answers are not finite
_VECTOR_NOISE = 0.3
_SMALL, _MATRIX_NOISE = 0.3, 0.1


@torch.no_grad()
def of_ordinary_size(model: nn.Module, probe: Tensor, seed: int) -> nn.Module | None:
    """A copy in which every parameter has noise added, and those that are near zero are drawn anew.

    Vectors (gains, biases, scales of residual branches) get normal noise of 0.3. A matrix whose entries are far below
    those of a usual initialisation, 1 / sqrt(inputs), gets noise of that size, any other a tenth of its own deviation.
    A batch norm's statistics move as well.

    Args:
        model: left as it was.
        probe: (B, 3, H, W) normalised, whose answers are to be finite.
        seed: of the noise.

    Returns:
        None where no such copy answers finitely.
    """
    return next((copy for copy in _copies(model, seed) if _is_finite(copy(probe))), None)


@torch.no_grad()
def trace_of_ordinary_size(model: nn.Module, probe: Tensor, seed: int) -> tuple[nn.Module, Trace] | None:
    """The copy that `of_ordinary_size` makes, and the trace of its forward of `probe`; see there."""
    traced = ((copy, trace(copy, probe)) for copy in _copies(model, seed))
    return next((pair for pair in traced if _is_finite(pair[1].logits)), None)


def _copies(model: nn.Module, seed: int) -> Iterator[nn.Module]:
    """With less noise each time."""
    for share in _SHARES:
        copy = working_copy(model, shared=False)
        generator = torch.Generator().manual_seed(seed)
        for parameter in copy.parameters():
            if parameter.is_floating_point():
                parameter.add_(_noise(parameter, generator), alpha=share)
        for mean, variance in filter(None, map(running_statistics, copy.modules())):
            mean += share * _VECTOR_NOISE * variance.sqrt() * torch.randn(mean.shape, generator=generator)
            variance *= 1 + share * _VECTOR_NOISE * (2 * torch.rand(variance.shape, generator=generator) - 1)
        for buffer in copy.buffers():
            if buffer.is_floating_point() and not bool(buffer.any()):  # a gate that is shut at birth
                buffer += share * _VECTOR_NOISE * torch.randn(buffer.shape, generator=generator)
        yield copy


def _is_finite(logits: Tensor) -> bool:
    return bool(logits.isfinite().all())


def _noise(parameter: Tensor, generator: torch.Generator) -> Tensor:
    drawn = torch.randn(parameter.shape, generator=generator)
    if parameter.ndim < 2 or parameter.shape[1:].numel() == 1:
        return drawn.mul_(_VECTOR_NOISE)
    usual, own = parameter.shape[1:].numel() ** -0.5, float(parameter.std())
    return drawn.mul_(usual if own < _SMALL * usual else _MATRIX_NOISE * own)
