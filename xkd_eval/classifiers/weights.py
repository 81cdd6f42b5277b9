"""Weights into a network: all of them or none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from xkd_eval.classifiers.checkpoint import is_checkpoint
from xkd_eval.classifiers.tensors import kind_of, loadable_tensors, plain_tensors
from xkd_eval.classifiers.weight_files import read_weight_file
from xkd_eval.errors import XkdError
from xkd_eval.foreign import reading, short

# In the order in which they are tried: what was trained, before its moving average.
_WRAPPINGS = ("state_dict", "model", "net", "model_state_dict", "ema", "model_ema", "state_dict_ema")
_PREFIXES = ("module.", "_orig_mod.", "model.")
_COUNTS = "num_batches_tracked"  # of training steps, which older files lack and no evaluation reads
_LISTED, _LONGEST = 3, 100
_DEEPEST = 4  # wrappings within wrappings; a file can hold itself


def load_weights(model: nn.Module, path: str | Path, argument: str = "weights") -> None:
    """Load a weight file into `model`, which stays as it was where the file does not fit.

    Args:
        model: the architecture.
        path: .pt, .pth, .th or .safetensors, wrapped as training scripts wrap it (`state_dict`, `model`, `net`,
            `model_state_dict`, `ema`; `module.`, `_orig_mod.`, `model.`).
        argument: the option that named the file, for the messages.

    Raises:
        XkdError: no readable weights, or they do not fit: missing and unexpected keys and shapes are listed.
    """
    load_state_dict(model, read_state_dict(path, argument), str(path), argument)


def read_state_dict(path: str | Path, argument: str = "weights") -> dict[str, Tensor]:
    """The tensors of a weight file, out of their wrapping; keys keep their prefixes.

    Half, bfloat16 and float64 become float32, in which networks are evaluated: the first two exactly, the last rounded.

    Raises:
        XkdError: no readable file, no state dict in it, or one with values that are NaN, infinite or no plain numbers.
    """
    return state_dict_in(read_weight_file(Path(path), argument), path, argument)


def state_dict_in(content: Any, path: str | Path, argument: str = "weights") -> dict[str, Tensor]:
    """`read_state_dict` of what `read_weight_file` has read.

    Args:
        content: of the file.
        path, argument: the file and the option that named it, for the messages.
    """
    where = f"{argument}: {str(path)!r}"
    return loadable_tensors(plain_tensors(_unwrap(content, where), where), where)


def without_prefix(state_dict: Mapping[str, Tensor], expected: Iterable[str] = ()) -> dict[str, Tensor]:
    """Drop the prefixes that wrappers put before every key, unless the expected keys have them too."""
    expected = list(expected)
    found = {name: tensor for name, tensor in state_dict.items() if name != "n_averaged"}
    while (prefix := _common_prefix(found)) is not None and not (expected and _common_prefix(expected) == prefix):
        found = {name.removeprefix(prefix): tensor for name, tensor in found.items()}
    return found


def load_state_dict(model: nn.Module, state_dict: Mapping[str, Tensor], source: str, argument: str = "weights") -> None:
    """Load a state dict into `model`, whole or not at all.

    Args:
        model: the architecture.
        state_dict: keys with or without a wrapper's prefix.
        source: the file, for the messages.
        argument: the option that named it, for the messages.

    Raises:
        XkdError: a key is missing, unexpected, of another shape, or holds whole numbers where fractions belong.
    """
    own = model.state_dict()
    given = without_prefix(state_dict, own)
    given = {name: tensor for name, tensor in own.items() if name.endswith(_COUNTS)} | given
    missing = [name for name in own if name not in given]
    unexpected = [name for name in given if name not in own]
    misshapen = [
        f"{name} is {tuple(given[name].shape)}, not {tuple(tensor.shape)}"
        for name, tensor in own.items()
        if name in given and given[name].shape != tensor.shape
    ]
    unlike = [
        f"{name} holds {kind_of(given[name])}, not {kind_of(tensor)}"
        for name, tensor in own.items()
        if name in given and kind_of(given[name]) != kind_of(tensor) and not name.endswith(_COUNTS)
    ]
    faults = (
        ("missing", missing),
        ("unexpected", unexpected),
        ("of another shape", misshapen),
        ("of another kind", unlike),
    )
    if any(names for _, names in faults):
        listed = "; ".join(f"{len(names)} {fault} ({_first(names)})" for fault, names in faults if names)
        raise XkdError(
            f"{argument}: {source!r} does not fit {type(model).__name__}: of {len(own)} tensors {listed}; "
            "name the architecture that the weights were trained with"
        )
    with reading(f"{argument}: {source!r} does not fit {type(model).__name__}", "name another architecture"):
        model.load_state_dict(given)


def _unwrap(content: Any, where: str) -> Mapping[Any, Any]:
    for _ in range(_DEEPEST):
        if is_checkpoint(content):
            content = content.get("state_dict")
        if not isinstance(content, Mapping):
            raise XkdError(f"{where} holds a {type(content).__name__}; expected a state dict")
        wrapped = (content[name] for name in _WRAPPINGS if isinstance(content.get(name), Mapping))
        inner = next(wrapped, None)
        if inner is None:
            break
        content = inner
    foreign = [
        name if isinstance(name, str) else short(name)
        for name, value in content.items()
        if not isinstance(value, Tensor)
    ]
    if foreign or not content:
        found = f"it has {_first(foreign)}" if foreign else "it is empty"
        raise XkdError(
            f"{where} holds no state dict, bare or under {', '.join(_WRAPPINGS[:5])}: {found}; save model.state_dict()"
        )
    return content


def _common_prefix(names: Iterable[str]) -> str | None:
    names = list(names)
    return next((prefix for prefix in _PREFIXES if names and all(name.startswith(prefix) for name in names)), None)


def _first(names: list[str]) -> str:
    shown = [name if name.isprintable() and len(name) < _LONGEST else short(name) for name in names[:_LISTED]]
    return ", ".join(shown) + (", ..." if len(names) > _LISTED else "")
