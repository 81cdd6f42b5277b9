"""An accelerator that is not there: its tensors lie on the CPU, say that they lie elsewhere, and refuse to be mixed.

Their numbers are real, and gradients pass. So whatever runs on it gives what it gives on the CPU, and what would mix
devices, or give an accelerator's tensor to numpy, raises as it does on a card. Torch calls the device "pretended".
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.backend_registration import (
    _DummyBackendModule,
    _DummyPrivateUse1Hook,
    _setup_privateuseone_for_python_backend,
)

_used = False


class _Module(_DummyBackendModule):
    """Torch's stand-in, which is there only within `accelerator`: other tests of the process are to find none."""

    def is_available(self) -> bool:
        return _used

    def device_count(self) -> int:
        return int(_used)


class _Hook(_DummyPrivateUse1Hook):
    """Likewise."""

    def is_available(self) -> bool:
        return _used


_setup_privateuseone_for_python_backend("pretended", backend_module=_Module(), hook=_Hook())
THERE, CPU = torch.device("pretended", 0), torch.device("cpu")
_MOVES = ("aten::to.", "aten::_to_copy")


class Pretended(Tensor):
    """A tensor on `THERE`, whose numbers are those of `held`, on the CPU."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> Pretended:
        made = Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            device=THERE,
        )
        made.held = held
        return made

    def __repr__(self, **known: Any) -> str:
        return f"Pretended({self.held!r})"

    def tolist(self) -> Any:
        """As an accelerator's tensor gives it; torch refuses it to subclasses."""
        return self.held.tolist()

    def new_tensor(self, data: Any, *, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        """See torch.Tensor.new_tensor."""
        return torch.tensor(data, dtype=dtype or self.dtype).to(device or self.device)

    @classmethod
    def __torch_dispatch__(cls, function, types, given=(), named=None):
        return _computed(function, given, named or {})


class _FromPython(TorchFunctionMode):
    """Python's numbers become tensors on the CPU, which are moved: torch does both at once, and fails here."""

    def __torch_function__(self, function, types, given=(), named=None):
        named = dict(named or {})
        if function in (torch.tensor, torch.as_tensor) and not isinstance(given[0], Tensor):
            device = named.pop("device", None)
            made = function(*given, **named)
            return made if device is None else made.to(device)
        if function is Tensor.__getitem__ and isinstance(given[0], Pretended):
            wanted = given[1] if isinstance(given[1], tuple) else (given[1],)
            given = given[0], tuple(torch.tensor(part) if isinstance(part, list) else part for part in wanted)
        return function(*given, **named)


@contextmanager
def accelerator() -> Iterator[torch.device]:
    """Within it `THERE` can be used."""
    global _used
    _used = True
    try:
        with _FromPython():
            yield THERE
    finally:
        _used = False


def moved(module: nn.Module) -> nn.Module:
    """A module, its parameters and buffers on `THERE`."""
    for part in module.modules():
        for name, value in part._parameters.items():
            if value is not None:
                part._parameters[name] = nn.Parameter(Pretended(value.detach()), requires_grad=value.requires_grad)
        for name, value in part._buffers.items():
            if value is not None:
                part._buffers[name] = Pretended(value)
    return module


@torch.inference_mode(False)  # torch makes views of tensors that are none of its own
def _computed(function: Any, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """What an operation gives, computed on the CPU, where it would be."""
    flat, _ = tree_flatten((given, named))
    there = [value for value in flat if isinstance(value, Pretended)]
    # A number may lie on the CPU, as may an index.
    here = [value for value in flat if isinstance(value, Tensor) and not isinstance(value, Pretended) and value.ndim]
    asked = next((value for value in flat if isinstance(value, torch.device)), None)
    is_there = bool(there) or (asked is not None and asked.type == THERE.type)
    if function.name().startswith(_MOVES) and asked is not None:
        is_there = asked.type == THERE.type
    elif function is torch.ops.aten.copy_.default:
        is_there = isinstance(given[0], Pretended)
    elif function is torch.ops.aten._local_scalar_dense.default:
        is_there = False
    elif there and here and "index" not in function.name():
        raise RuntimeError(f"{function.name()}: tensors on {THERE} and on the CPU are mixed")
    found = function(*tree_map(_held, given), **tree_map(_held, named))
    if not is_there:
        return found
    known = {id(value.held): value for value in there}  # an operation in place gives what it was given
    return tree_map(lambda value: _said_there(value, known) if isinstance(value, Tensor) else value, found)


def _held(value: Any) -> Any:
    if isinstance(value, torch.device):
        return CPU
    return value.held if isinstance(value, Pretended) else value


def _said_there(value: Tensor, known: dict[int, Pretended]) -> Pretended:
    found = known.get(id(value))
    return Pretended(value) if found is None else found


_LIBRARY = torch.library.Library("_", "IMPL")
_LIBRARY.fallback(lambda function, *given, **named: _computed(function, given, named), "PrivateUse1")
