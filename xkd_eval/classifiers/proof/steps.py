"""What stands between pool and head, moved in front of the pool: linear once what it measures of an image is frozen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xkd_eval.classifiers.proof.linear import linear_weights

Kind = Literal["layer norm", "RMS norm", "variance norm", "batch norm", "linear", "unit length"]

_TOLERANCE = 1e-4


class Step(NamedTuple):
    """One layer between pool and head.

    Attributes:
        kind: how it acts on a vector. "variance norm" divides by the standard deviation and takes no mean off; "unit
            length" by the Euclidean norm.
        path: of the module; "" for a function.
        beside: of another module of the kind, whose result stands beside the first's: each of two heads that are
            averaged has a norm of its own; "" for none.
    """

    kind: Kind
    path: str
    beside: str = ""

    @property
    def measures(self) -> bool:
        """Whether it takes statistics of the image, which the map holds frozen."""
        return self.kind not in ("batch norm", "linear")

    @property
    def paths(self) -> tuple[str, ...]:
        """Of all its modules."""
        return tuple(filter(None, (self.path, self.beside)))


def moved(features: Tensor, step: Step, model: nn.Module) -> Tensor:
    """A step applied place by place, with what it measures of an image taken from the average of its places.

    So frozen the step is affine and commutes with the average: the spatial mean of the result is what the step makes
    of the pooled features.

    Args:
        features: (B, C, h, w).
        step: between pool and head.
        model: whose module it is.

    Returns:
        (B, C', h, w).
    """
    modules = [model.get_submodule(path) for path in step.paths] or [nn.Identity()]
    return torch.cat([_KINDS[step.kind](features, module) for module in modules], 1)


def kind_of(module: nn.Module, given: Tensor, output: Tensor) -> Kind | None:
    """How a module acts on vectors, told by what it made of them; None where it is no such step.

    Args:
        module: that was called.
        given: (B, C), what it was called on.
        output: (B, C'), what it put out.
    """
    for kind, applies in _APPLIES.items():
        if applies(module):
            made = _KINDS[kind](given[:, :, None, None], module).flatten(1)
            if made.shape == output.shape and relative_error(made, output) <= _TOLERANCE:
                return kind
    return None


def running_statistics(module: nn.Module) -> tuple[Tensor, Tensor] | None:
    """The means (C,) and variances (C,) that a norm has collected, of whatever class it is; None where it has none."""
    mean, variance = getattr(module, "running_mean", None), getattr(module, "running_var", None)
    return (mean, variance) if isinstance(mean, Tensor) and isinstance(variance, Tensor) else None


def _layer_norm(features: Tensor, norm: nn.Module) -> Tensor:
    pooled = features.mean((2, 3))
    centre = pooled.mean(1)[:, None, None, None]
    scale = (pooled.var(1, unbiased=False) + _eps(norm)).rsqrt()[:, None, None, None]
    return _affine((features - centre) * scale, norm)


def _rms_norm(features: Tensor, norm: nn.Module) -> Tensor:
    pooled = features.mean((2, 3))
    scale = (pooled.square().mean(1) + _eps(norm)).rsqrt()[:, None, None, None]
    return _affine(features * scale, norm)


def _variance_norm(features: Tensor, norm: nn.Module) -> Tensor:
    pooled = features.mean((2, 3))
    scale = (pooled.var(1) + _eps(norm)).rsqrt()[:, None, None, None]
    return _affine(features * scale, norm)


def _batch_norm(features: Tensor, norm: nn.Module) -> Tensor:
    statistics = running_statistics(norm)
    assert statistics is not None
    mean, variance = statistics
    scale = (variance + _eps(norm)).rsqrt()[:, None, None]
    return _affine((features - mean[:, None, None]) * scale, norm)


def _linear(features: Tensor, layer: nn.Module) -> Tensor:
    weights = linear_weights(layer)
    assert weights is not None
    return F.conv2d(features, weights.weight[:, :, None, None], weights.bias)


def _unit_length(features: Tensor, _: nn.Module) -> Tensor:
    return features / features.mean((2, 3), keepdim=True).norm(dim=1, keepdim=True).clamp_min(1e-12)


def _affine(values: Tensor, norm: nn.Module) -> Tensor:
    weight, bias = getattr(norm, "weight", None), getattr(norm, "bias", None)
    if isinstance(weight, Tensor):
        values = values * weight[:, None, None]
    return values + bias[:, None, None] if isinstance(bias, Tensor) else values


def _eps(norm: nn.Module) -> float:
    """By whichever name libraries call it; torch's RMSNorm leaves it to the type's precision."""
    for name in ("eps", "variance_epsilon"):
        if isinstance(value := getattr(norm, name, None), float):
            return value
    return torch.finfo(torch.float32).eps


def _is_norm(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return "norm" in type(module).__name__.lower() and (
        weight is None or (isinstance(weight, Tensor) and weight.ndim == 1)
    )


_KINDS: dict[Kind, Callable[[Tensor, nn.Module], Tensor]] = {
    "layer norm": _layer_norm,
    "RMS norm": _rms_norm,
    "variance norm": _variance_norm,
    "batch norm": _batch_norm,
    "linear": _linear,
    "unit length": _unit_length,
}
_APPLIES: dict[Kind, Callable[[nn.Module], bool]] = {
    "layer norm": lambda module: _is_norm(module) and running_statistics(module) is None,
    "RMS norm": lambda module: _is_norm(module) and running_statistics(module) is None,
    "variance norm": lambda module: _is_norm(module) and running_statistics(module) is None,
    "batch norm": lambda module: running_statistics(module) is not None,
    "linear": lambda module: linear_weights(module) is not None,
}


def relative_error(got: Tensor, expected: Tensor) -> float:
    """The largest difference, as a fraction of the largest value that is expected."""
    scale = expected.abs().max().clamp_min(torch.finfo(expected.dtype).tiny)
    return float((got - expected).abs().max() / scale)
