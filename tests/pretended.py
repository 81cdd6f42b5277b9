"""An accelerator that is not there: its tensors lie on the CPU, say that they lie elsewhere, and refuse to be mixed.

Their numbers are real, and gradients pass. So whatever runs on it gives what it gives on the CPU, and what would mix
devices, or give an accelerator's tensor to numpy, raises as it does on a card. Torch calls the device "pretended".
Autocast casts nothing there, and it has no graphs and one process.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import pytest
import torch
from accelerate.state import AcceleratorState, PartialState
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.backend_registration import (
    _DummyBackendModule,
    _DummyPrivateUse1Hook,
    _setup_privateuseone_for_python_backend,
)

operations = 0
"""How many have been computed on it so far."""
_used, _is_awaited = False, True


class _Module(_DummyBackendModule):
    """Torch's stand-in, which is there only within `accelerator`: other tests of the process are to find none."""

    def is_available(self) -> bool:
        return _used

    def device_count(self) -> int:
        return int(_used)

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]


class _Hook(_DummyPrivateUse1Hook):
    """Likewise."""

    def is_available(self) -> bool:
        return _used


if torch.cuda.is_available():  # torch would prefer the pretended one to it, in every test of the process
    pytest.skip("an accelerator is pretended where there is none", allow_module_level=True)
_setup_privateuseone_for_python_backend("pretended", backend_module=_Module(), hook=_Hook())
THERE, CPU = torch.device("pretended", 0), torch.device("cpu")
_MOVES = ("aten::to.", "aten::_to_copy")
_DEPENDING = {torch.Tag.dynamic_output_shape, torch.Tag.data_dependent_output}
_INDEXING = ("aten::index.Tensor", "aten::index_put", "aten::_index_put_impl_", "aten::_unsafe_index")
_TAKING_NUMBERS = ("aten::fill_", "aten::masked_fill", "aten::_foreach_")


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

    def __reduce_ex__(self, protocol: Any) -> Any:
        """What is saved is read as a tensor on the CPU."""
        return self.held.__reduce_ex__(protocol)

    def tolist(self) -> Any:
        """As an accelerator's tensor gives it; torch refuses it to subclasses."""
        return self.cpu().tolist()

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


class _Generators(type):
    def __call__(cls, device: Any = CPU) -> torch.Generator:
        return cls.torchs(CPU if torch.device(device).type == THERE.type else device)

    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, cls.torchs)


class _Generator(metaclass=_Generators):
    """Torch's, but that the CPU's draws where `THERE` would: one of its own would have to be written in C++."""

    torchs = torch.Generator


@contextmanager
def accelerator() -> Iterator[torch.device]:
    """Within it `THERE` can be used, and is the device that is chosen where none is named."""
    unindexed = property(lambda state: torch.device(THERE.type))  # as Accelerate says "cuda"
    with ExitStack() as stack:
        stack.callback(AcceleratorState._reset_state, True)
        AcceleratorState._reset_state(True)  # which holds the device of the tests before
        stack.enter_context(patch.object(PartialState, "default_device", unindexed))
        stack.enter_context(patch.object(torch.accelerator, "get_memory_info", lambda device: (2**34, 2**34)))
        stack.enter_context(patch.object(torch, "Generator", _Generator))
        stack.enter_context(patch.object(sys.modules[__name__], "_used", True))
        stack.enter_context(_FromPython())
        yield THERE


@contextmanager
def unawaited() -> Iterator[None]:
    """Within it raises whatever a card would be waited for."""
    with patch.object(sys.modules[__name__], "_is_awaited", False):
        yield


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
    global operations
    operations += 1
    flat = list(_leaves((given, named)))
    there = [value for value in flat if isinstance(value, Pretended)]
    here = [value for value in flat if isinstance(value, Tensor) and not isinstance(value, Pretended)]
    asked = next((value for value in flat if isinstance(value, torch.device)), None)
    is_there = bool(there) or (asked is not None and asked.type == THERE.type)
    if function.name().startswith(_MOVES) and asked is not None:
        is_there = asked.type == THERE.type
    elif function is torch.ops.aten.copy_.default:
        is_there = isinstance(given[0], Pretended)
    elif function is torch.ops.aten._local_scalar_dense.default:
        is_there = False
    elif there and here and not _may_lie_here(function, given, here):
        raise RuntimeError(f"{function.name()}: tensors on {THERE} and on the CPU are mixed")
    if not _is_awaited and _waits(function, given, named, is_there):
        raise RuntimeError(f"{function.name()}: {THERE} is waited for")
    with _without_onednn() if _overruns(function, given) else nullcontext():
        found = function(*_mapped(_held, given), **_mapped(_held, named))
    if not is_there:
        return found
    known = {id(value.held): value for value in there}  # an operation in place gives what it was given
    return _mapped(lambda value: _said_there(value, known) if isinstance(value, Tensor) else value, found)


def _may_lie_here(function: Any, given: tuple[Any, ...], here: list[Tensor]) -> bool:
    """Whether an operation takes tensors on the CPU beside others on `THERE`: numbers, and what indexes the others."""
    if function.name().startswith(_INDEXING):
        indices = {id(index) for index in given[1]}
        return isinstance(given[0], Pretended) and all(value.ndim == 0 or id(value) in indices for value in here)
    takes_numbers = torch.Tag.pointwise in function.tags or function.name().startswith(_TAKING_NUMBERS)
    return takes_numbers and all(value.ndim == 0 for value in here)


def _waits(function: Any, given: tuple[Any, ...], named: dict[str, Any], is_there: bool) -> bool:
    """Whether values have to be known to the host, or are brought from it or to it while it stands still."""
    if function is torch.ops.aten.copy_.default:
        return isinstance(given[1], Pretended) != is_there and True not in given[2:]
    if function.name().startswith(_MOVES):
        return isinstance(given[0], Pretended) != is_there and not named.get("non_blocking", False)
    if not any(isinstance(value, Pretended) for value in _leaves(given)):
        return False
    if function.name().startswith(_INDEXING):
        indices = [index for index in given[1] if index is not None]
        return any(not isinstance(index, Pretended) or index.dtype == torch.bool for index in indices)
    return not _DEPENDING.isdisjoint(function.tags)


def _overruns(function: Any, given: tuple[Any, ...]) -> bool:
    """Whether oneDNN may write past its buffer, see distill/training/memory_format.py; a card has no oneDNN."""
    if function is not torch.ops.aten.convolution_backward.default:
        return False
    _, _, weight, _, stride, *_ = given
    return tuple(weight.shape[2:]) == (1, 1) and tuple(stride) != (1, 1)


@contextmanager
def _without_onednn() -> Iterator[None]:
    before = torch.backends.mkldnn.enabled
    torch._C._set_mkldnn_enabled(False)
    try:
        yield
    finally:
        torch._C._set_mkldnn_enabled(before)


def _leaves(tree: Any) -> Iterator[Any]:
    """What lies in tuples, lists and dictionaries; torch's own of these take most of an operation's time."""
    if isinstance(tree, (tuple, list, dict)):
        for part in tree.values() if isinstance(tree, dict) else tree:
            yield from _leaves(part)
    else:
        yield tree


def _mapped(change: Callable[[Any], Any], tree: Any) -> Any:
    """The same with each leaf changed."""
    if isinstance(tree, dict):
        return {name: _mapped(change, part) for name, part in tree.items()}
    return type(tree)(_mapped(change, part) for part in tree) if isinstance(tree, (tuple, list)) else change(tree)


def _held(value: Any) -> Any:
    if isinstance(value, torch.device):
        return CPU
    return value.held if isinstance(value, Pretended) else value


def _said_there(value: Tensor, known: dict[int, Pretended]) -> Pretended:
    found = known.get(id(value))
    return Pretended(value) if found is None else found


_LIBRARY = torch.library.Library("_", "IMPL")
_LIBRARY.fallback(lambda function, *given, **named: _computed(function, given, named), "PrivateUse1")
