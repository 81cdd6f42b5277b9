"""Forward hooks that stay for the length of a `with` block: what a network's modules are given and put out."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from functools import partial
from typing import Any, Generic, Self, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

K = TypeVar("K", bound=Hashable)


def takes_hooks(module: nn.Module) -> bool:
    """Whether it is known what a module puts out: TorchScript runs its own without calling any hook."""
    return not isinstance(module, torch.jit.ScriptModule)


class ForwardHooks(Generic[K]):
    """Calls a function after every call of some modules, within `with`; the hooks are gone afterwards.

    Args:
        modules: by the key under which the function is told of them, such as the path in their network.
        seen: function of (key, module, the call's positional inputs, its output); a tensor that it returns takes the
            output's place in what follows, None leaves it.
    """

    def __init__(
        self, modules: Mapping[K, nn.Module], seen: Callable[[K, nn.Module, tuple[Any, ...], Any], Tensor | None]
    ) -> None:
        self._modules = modules
        self._seen = seen
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> Self:
        # A partial of a method is copied with its object: a deep copy of the modules and of it tells its own.
        self._handles = [
            module.register_forward_hook(partial(self._seen, key)) for key, module in self._modules.items()
        ]
        return self

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()


class Outputs(ForwardHooks[K]):
    """The output of each module's last call within `with`: `outputs[key]`.

    Args:
        modules: by key.
        copied: what follows in the network gets a copy, so that what was kept stays what the module gave, also where a
            later layer works in place.

    Attributes:
        inputs: the positional inputs of the same call, by key.
    """

    def __init__(self, modules: Mapping[K, nn.Module], *, copied: bool = False) -> None:
        super().__init__(modules, self._keep)
        self.inputs: dict[K, tuple[Any, ...]] = {}
        self._outputs: dict[K, Tensor] = {}
        self._copied = copied

    def __getitem__(self, key: K) -> Tensor:
        """The output; KeyError where the module was not called."""
        return self._outputs[key]

    def __contains__(self, key: object) -> bool:
        return key in self._outputs

    def _keep(self, key: K, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor | None:
        self.inputs[key] = inputs
        self._outputs[key] = output
        return output.clone() if self._copied else None
