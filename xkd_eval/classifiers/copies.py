"""Copies of a network to work on: the original stays as it was, and weights that nobody writes to are shared."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from copy import deepcopy
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from xkd_eval.errors import XkdError
from xkd_eval.foreign import reason

M = TypeVar("M", bound=nn.Module)

_PARTS = ("_modules", "_parameters", "_buffers")  # of a module, each of which is copied
_DICTIONARIES = (dict, OrderedDict)
_CHECKPOINTING = ("grad_checkpointing", "gradient_checkpointing", "use_checkpoint", "with_cp", "memory_efficient")


def unwrapped(module: nn.Module) -> nn.Module:
    """The module within what torch.compile, DataParallel and the like put around it: it computes the same.

    They run it where no hook of ours sees its layers.
    """
    while True:
        if type(module).__name__ == "OptimizedModule" and isinstance(getattr(module, "_orig_mod", None), nn.Module):
            module = cast(nn.Module, module._orig_mod)
        elif isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            module = module.module
        else:
            return module


def copied(module: M, sharing: Iterable[nn.Parameter] = ()) -> M:
    """A deep copy that holds some of the parameters themselves: those that neither it nor the original changes.

    Args:
        module: to copy; buffers always are.
        sharing: parameters of it, unless a module of it does more than set flags where it goes into eval mode.

    Returns:
        The copy, in which layers are as they are within their wrappers, see `unwrapped`.

    Raises:
        XkdError: the module cannot be copied.
    """
    return _copied(module, {id(parameter): parameter for parameter in sharing})


def quiet_copy(module: M, *, frozen: bool = True) -> M:
    """A copy in eval mode and float32 whose modules, flags, hooks and buffers are its own.

    What a call does to it no other call sees, in this thread or another. Contiguous float32 weights share the
    original's memory.

    Args:
        module: in any mode, of any precision; left as it was.
        frozen: its parameters take no gradients. Otherwise they are the original's own, so that gradients reach those.

    Raises:
        XkdError: the module cannot be copied.
    """
    kept = [parameter for parameter in module.parameters() if parameter.dtype == torch.float32]
    if not frozen:
        return without_checkpointing(copied(module, kept)).float().eval()
    with torch.inference_mode(False):
        shared = {id(parameter): _frozen(parameter) for parameter in kept}
    return without_checkpointing(_copied(module, shared)).float().eval().requires_grad_(False)


def is_quiet(module: nn.Module) -> bool:
    """Whether all of a module is in eval mode and float32, as everything here is evaluated."""
    return not any(part.training for part in module.modules()) and is_float32(module)


def is_float32(module: nn.Module) -> bool:
    """Whether all its floating-point parameters and buffers are float32."""
    return all(tensor.dtype == torch.float32 for tensor in _tensors(module) if tensor.is_floating_point())


def without_checkpointing(module: M) -> M:
    """The module, none of whose parts computes its activations again: hooks would fire twice, and gradients be refused.

    The libraries' switches are attributes; what they switch is memory against time, and no number.
    """
    for part in module.modules():
        for switch in _CHECKPOINTING:
            if getattr(part, switch, None) is True:
                setattr(part, switch, False)
    return module


def _copied(module: M, shared: dict[int, nn.Parameter]) -> M:
    # Outside of inference mode, whose tensors no gradient passes.
    with torch.inference_mode(False), torch.no_grad():
        try:
            made = deepcopy(module, _known(module, shared))
        except Exception:  # a module from outside may hold anything
            made = _copied_but_for_some(module, shared)
    for part in list(made.modules()):
        for name, inner in part._modules.items():
            if inner is not None:
                part._modules[name] = unwrapped(inner)
    return made


def _copied_but_for_some(module: M, shared: dict[int, nn.Parameter]) -> M:
    """A copy that shares what cannot be copied, such as the session of another engine or the graph of a program."""
    known = _known(module, shared)
    for part in module.modules():
        for name, value in vars(part).items():
            if name not in _PARTS:
                try:
                    deepcopy(value, dict(known))
                except Exception:  # whatever it raises, it is the value's own to say that it cannot be copied
                    known[id(value)] = value
    try:
        return deepcopy(module, known)
    except Exception as error:
        raise XkdError(
            f"model: {type(module).__name__} cannot be copied ({reason(error)}), and a copy is what is evaluated; "
            "keep what cannot be copied out of it, or give it a __deepcopy__"
        ) from error


def _known(module: nn.Module, shared: dict[int, nn.Parameter]) -> dict[int, object]:
    """What a deep copy takes as it is, by its id."""
    known: dict[int, object] = {**shared} if _has_plain_modes(module) else {}
    for part in module.modules():
        for value in (*part._parameters.values(), *part._buffers.values(), *vars(part).values()):
            # What autograd made (old weight norms, outputs that were kept) knows no deep copy.
            if isinstance(value, Tensor) and (value.grad_fn is not None or value.is_inference()):
                known.setdefault(id(value), _cloned(value))
            # A module holds a dozen, of hooks that it has not: most of the time that its copy takes.
            elif type(value) in _DICTIONARIES and not value:
                known.setdefault(id(value), type(value)())
    return known


def _has_plain_modes(module: nn.Module) -> bool:
    """Whether going into eval mode sets flags alone; a module with an `eval` of its own may merge weights there."""
    return all(type(part).train is nn.Module.train and type(part).eval is nn.Module.eval for part in module.modules())


def _cloned(tensor: Tensor) -> Tensor:
    values = tensor.detach().clone()
    return nn.Parameter(values, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else values


def _frozen(parameter: nn.Parameter) -> nn.Parameter:
    values = parameter.detach().contiguous()  # of another layout convolutions round otherwise
    return nn.Parameter(values.clone() if values.is_inference() else values, requires_grad=False)


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    for part in module.modules():
        for tensor in (*part._parameters.values(), *part._buffers.values()):
            if tensor is not None:
                yield tensor
