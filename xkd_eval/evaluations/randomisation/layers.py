"""The layers of a network that can draw their weights anew, and how they do so without anybody else noticing."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from xkd_eval.errors import XkdError


def layers_of(model: nn.Module, kind: str = "all") -> list[str]:
    """Paths of the layers that can draw their weights anew, in the order in which they are defined.

    Norms are layers of their own, and are reset with their running statistics. What a network holds beside its layers
    (class tokens, position embeddings, layer scales) stays as it was learned.

    Args:
        model: the network.
        kind: "all", or "public": those that have a method `reset_parameters`, of which torch's attention, whose method
            has an underscore, is none.
    """
    return [path for path, module in model.named_modules() if path and _drawing(module, kind) is not None]


def _drawing(module: nn.Module, kind: str = "all") -> Callable[[], None] | None:
    """By what a layer draws its weights anew."""
    if kind == "public" or hasattr(module, "reset_parameters"):
        return getattr(module, "reset_parameters", None)
    # A container of layers, as torch's transformers, may have one too, and nothing of its own to draw.
    holds = any(True for _ in module.parameters(recurse=False))
    return getattr(module, "_reset_parameters", None) if holds else None


class Layers:
    """A network's layers, redrawn in place and given back.

    Args:
        model: whose weights are its own.
        kind: of layers, see `layers_of`.
        redrawn: "initial", as each layer draws its own, or "uniform" in [0, 1), weights and statistics alike.
        seeding: "layer", a seed of its own for each, or "same".
        seed: from which the seeds are made.

    Attributes:
        paths: see `layers_of`.

    Raises:
        XkdError: there are none.
    """

    def __init__(self, model: nn.Module, kind: str, redrawn: str, seeding: str, seed: int) -> None:
        self.paths = layers_of(model, kind)
        if not self.paths:
            raise XkdError(
                f"model: no layer of {type(model).__name__} has `reset_parameters`, by which its weights could be "
                "drawn anew; leave the randomisation test out"
            )
        self._model, self._redrawn, self._seeding, self._seed = model, redrawn, seeding, seed
        self._learned: dict[str, dict[str, Tensor]] = {}

    def redraw(self, path: str) -> None:
        """Draw one layer anew. The numbers depend on seed and path, and on no device, thread or call before."""
        module = self._model.get_submodule(path)
        seed = self._seed if self._seeding == "same" else _seed_of(self._seed, path)
        # Drawn on the CPU, in a copy: what a layer's weights are shared with is not asked.
        with torch.inference_mode(False), torch.no_grad():
            self._learned.setdefault(path, {name: values.clone() for name, values in _values(module).items()})
            drawn = copy.deepcopy(module).cpu()
            with DrawnFrom(torch.Generator().manual_seed(seed)):
                if self._redrawn == "uniform":
                    for values in _values(drawn).values():
                        if values.is_floating_point():
                            values.uniform_()
                else:
                    draw = _drawing(drawn)
                    assert draw is not None
                    draw()
            _put(module, _values(drawn))

    def restore(self) -> None:
        """Give every layer its learned weights back."""
        with torch.inference_mode(False), torch.no_grad():
            # The last first: of weights that two layers share, the first one to be redrawn kept what was learned.
            for path, values in reversed(self._learned.items()):
                _put(self._model.get_submodule(path), values)
        self._learned.clear()


class DrawnFrom(TorchDispatchMode):
    """Within it, whatever this thread's code draws by torch comes from one generator.

    Torch's own generator, which all threads share and which `reset_parameters` draws from, stays as it is. The same
    numbers come as if it had been seeded like the generator.

    Args:
        generator: on the CPU, as is all that is drawn.
    """

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self._generator = generator

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here, and to be told so torch would import its compiler, which takes seconds

    def __torch_dispatch__(
        self, function: Any, types: Any, given: tuple[Any, ...] = (), named: Mapping[str, Any] | None = None
    ) -> Any:
        """Calls the operation, with the generator where it takes one."""
        others = dict(named or {})
        if torch.Tag.nondeterministic_seeded in function.tags:
            function = _generated(function)
            others["generator"] = self._generator
        return function(*given, **others)


def _generated(function: Any) -> Any:
    """The overload of a random operation that takes a generator."""
    if any(argument.name == "generator" for argument in function._schema.arguments):
        return function
    overload = function._overloadname
    found = getattr(function.overloadpacket, "generator" if overload == "default" else f"{overload}_generator", None)
    if found is None:
        raise XkdError(
            f"model: a layer's reset_parameters draws by {function.overloadpacket.__name__}, which takes no generator; "
            "leave the randomisation test out"
        )
    return found


def _seed_of(seed: int, path: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {path}".encode()).digest()[:8], "big") >> 1


def _values(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def _put(module: nn.Module, values: Mapping[str, Tensor]) -> None:
    for name, old in _values(module).items():
        old.copy_(values[name])
