"""What is drawn at random in one thread, from generators of its own instead of torch's, which the process shares."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import cache
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode_stack

from xkd_eval.errors import XkdError

_ONE_SWAP_AT_A_TIME = threading.Lock()


class _Entered(threading.local):
    """Which are entered in this thread, the innermost last."""

    def __init__(self) -> None:
        self.all: list[OwnDraws] = []


_entered = _Entered()


class OwnDraws(TorchDispatchMode):
    """While entered, all that this thread draws through torch is what it would be after `torch.manual_seed(seed)`.

    torch's own generators stay as they are, so no thread changes what another one draws. Every operation passes through
    Python meanwhile. An operation on a GPU that takes no generator, such as its fused dropout, borrows torch's for as
    long as it is launched. Within another one the innermost draws, and the outer one goes on afterwards as if nothing
    had been drawn.

    Args:
        seed: of 63 bits.

    Attributes:
        count: operations that have drawn so far.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.count = 0
        self._seed = seed
        self._is_asked = False
        self._generators: dict[torch.device, torch.Generator] = {}

    def __enter__(self) -> Self:
        """Draw from here on."""
        _entered.all.append(self)
        # Every operation passes through one, which asks the innermost. The outer ones of a process that was forked
        # where torch's modes are left out, as a worker is, are not asked there.
        self._is_asked = not any(isinstance(mode, OwnDraws) for mode in _get_current_dispatch_mode_stack())
        if self._is_asked:
            super().__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Draw no more."""
        if self._is_asked:
            super().__exit__(kind, error, trace)
        _entered.all.remove(self)

    def __torch_dispatch__(
        self, function: Any, types: Any, arguments: Sequence[Any] = (), options: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operation; one that draws gets the innermost's generator."""
        options = options or {}
        if not _draws(function) or not _entered.all:  # none, in a thread of torch's that computes gradients
            return function(*arguments, **options)
        return _entered.all[-1]._drawn(function, arguments, options)

    def _drawn(self, function: Any, arguments: Sequence[Any], options: Mapping[str, Any]) -> Any:
        """What an operation gives that may draw."""
        device = _device(arguments, options)
        given = any(isinstance(value, torch.Generator) for value in (*arguments, *options.values()))
        if given or device.type == "meta":
            return function(*arguments, **options)
        generator = self._generator(device)
        other = _with_generator(function)
        if other is None:
            return self._swapped(generator, function, arguments, options)
        self._note()
        return other(*arguments, **{**options, "generator": generator})

    def _generator(self, device: torch.device) -> torch.Generator:
        if device not in self._generators:
            self._generators[device] = torch.Generator(device).manual_seed(self._seed)
        return self._generators[device]

    def _swapped(
        self, generator: torch.Generator, function: Any, arguments: Sequence[Any], options: Mapping[str, Any]
    ) -> Any:
        """An operation that only draws from torch's generator, or would if it were told to."""
        shared = _shared_generator(generator.device)
        with _ONE_SWAP_AT_A_TIME:
            kept, ours = shared.get_state(), generator.get_state()
            shared.set_state(ours)
            try:
                made = function(*arguments, **options)
                generator.set_state(shared.get_state())
            finally:
                shared.set_state(kept)
        if not torch.equal(generator.get_state(), ours):
            self._note()
        return made

    def _note(self) -> None:
        self.count += 1
        # What is computed again there (torch.utils.checkpoint) would draw other numbers than it did the first time.
        if torch._C._current_autograd_node() is not None:
            raise XkdError(
                "student: it draws at random while its gradient is computed; leave activation checkpointing out where "
                "there is dropout"
            )


@cache
def _draws(function: Any) -> bool:
    return torch.Tag.nondeterministic_seeded in function.tags


@cache
def _with_generator(function: Any) -> Any:
    """The overload of an operation that takes a generator beside the same arguments; None where there is none."""
    packet = function.overloadpacket
    for other in (getattr(packet, name) for name in packet.overloads()):
        if _arguments(other) == _arguments(function) and "generator" in {
            argument.name for argument in other._schema.arguments
        }:
            return other
    return None


def _arguments(function: Any) -> list[tuple[str, str]]:
    """Names and types but for the generator."""
    arguments = function._schema.arguments
    return [(argument.name, str(argument.type)) for argument in arguments if argument.name != "generator"]


def _device(arguments: Sequence[Any], options: Mapping[str, Any]) -> torch.device:
    """Where an operation draws: on its tensors' device, or the one that it is told."""
    tensors = [value for value in (*arguments, *options.values()) if isinstance(value, Tensor)]
    device = tensors[0].device if tensors else torch.device(options.get("device") or "cpu")
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return device


def _shared_generator(device: torch.device) -> torch.Generator:
    """torch's own, which the process shares."""
    if device.type == "cuda":
        torch.cuda.init()
        return torch.cuda.default_generators[device.index]
    return torch.default_generator
