"""Where in a file the tensors lie: bare, under what training scripts call them, or in a part that is named."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from xkd_eval.classifiers.checkpoint import is_checkpoint
from xkd_eval.classifiers.weights.files import SUFFIXES
from xkd_eval.errors import XkdError
from xkd_eval.foreign import is_there, short

PART = "#"
"""Stands between a file and the part of it that is meant: "w.pth#student"."""

AVERAGES = frozenset(("ema", "model_ema", "ema_model", "state_dict_ema", "averaged_model", "swa_model"))
"""What training scripts call a moving average of the weights that they train."""

# In the order in which they are tried: what was trained, before its moving average.
_WRAPPINGS = ("state_dict", "model", "net", "model_state_dict", "ema", "model_ema", "state_dict_ema")
_LISTED, _MANY, _LONGEST = 3, 10, 100
_DEEPEST = 4  # wrappings within wrappings; a file can hold itself


def parted(path: str | Path) -> tuple[Path, str]:
    """A file and the part of it that is meant; "" is all of it. A name that a file has is that file's."""
    file, _, part = str(path).rpartition(PART)
    if Path(file).suffix not in SUFFIXES or is_there(path):
        return Path(path), ""
    return Path(file), part.strip(".")


def unwrapped_tensors(content: Any, part: str, where: str) -> tuple[dict[Any, Any], tuple[str, ...]]:
    """The state dict in what a file holds.

    Args:
        content: of the file.
        part: of it that is meant, by the names that lead to it: "student", "module.teacher"; "" where none is named.
        where: begins the messages: the argument and the file.

    Returns:
        Name to tensor, which nobody has looked at yet; and what is to be said of it, a sentence each.

    Raises:
        XkdError: no state dict, one of a quantised network, or no such part.
    """
    if is_checkpoint(content):
        content = content.get("state_dict")
    found, notes = _unwrapped(content, where)
    if not part:
        return found, notes
    for tensors in (found, dict(_flat(content, set()))):
        chosen = {name[len(part) + 1 :]: tensor for name, tensor in tensors.items() if f"{name}".startswith(f"{part}.")}
        if chosen:
            return chosen, ()
    known = dict.fromkeys(name.partition(".")[0] for name, _ in _flat(content, set()))
    raise XkdError(f"{where} has no part {short(part)}; it has {listed(list(known))}")


def listed(names: Iterable[str], most: int = _LISTED) -> str:
    """The first of many names from outside, as an error shows them."""
    names = list(names)
    shown = [name if name.isprintable() and len(name) < _LONGEST else short(name) for name in names[:most]]
    return ", ".join(shown) + (", ..." if len(names) > most else "")


def _unwrapped(content: Any, where: str) -> tuple[dict[Any, Any], tuple[str, ...]]:
    notes: tuple[str, ...] = ()
    for _ in range(_DEEPEST):
        if not isinstance(content, Mapping):
            raise XkdError(f"{where} holds a {type(content).__name__}; expected a state dict")
        name = next((name for name in _WRAPPINGS if isinstance(content.get(name), Mapping)), None)
        if name is None:
            break
        notes = (*notes, *_beside(content, name, where))
        content = content[name]
    _refuse_quantised(content, where)
    if content and all(isinstance(value, Tensor) for value in content.values()):
        return dict(content), notes
    found = dict(_flat(content, set()))
    if not found:
        foreign = [name if isinstance(name, str) else short(name) for name in content]
        what = f"it has {listed(foreign)}" if foreign else "it is empty"
        raise XkdError(
            f"{where} holds no state dict, bare or under {', '.join(_WRAPPINGS[:5])}: {what}; save model.state_dict()"
        )
    _refuse_quantised(found, where)
    return found, notes


def _beside(content: Mapping[Any, Any], chosen: str, where: str) -> Iterator[str]:
    """A note on what else in a file is the weights of something."""
    others = [
        name
        for name, value in content.items()
        if isinstance(name, str) and name != chosen and isinstance(value, Mapping) and _has_tensors(value)
    ]
    if others:
        average = next((name for name in others if name in AVERAGES), None)
        why = "" if average is None else f" (what was trained goes before its average, which FILE{PART}{average} names)"
        argument = where.partition(":")[0]
        yield (
            f"{argument}: {chosen!r} of the file was read{why}, and what lies beside it was left out "
            f"({listed(others, _MANY)})"
        )


def _has_tensors(state_dict: Mapping[Any, Any]) -> bool:
    return any(isinstance(name, str) and isinstance(value, Tensor) for name, value in state_dict.items())


def _flat(content: Any, seen: set[int], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Tensor]]:
    """The tensors of mappings within mappings, each mapping once, by the names that lead to them."""
    if not isinstance(content, Mapping) or id(content) in seen or depth > _DEEPEST:
        return
    seen.add(id(content))
    for name, value in content.items():
        if isinstance(name, str) and isinstance(value, Tensor):
            yield f"{prefix}{name}", value
        elif isinstance(name, str):
            yield from _flat(value, seen, f"{prefix}{name}.", depth + 1)


def _refuse_quantised(content: Mapping[Any, Any], where: str) -> None:
    for name, value in content.items():
        is_packed = isinstance(name, str) and "_packed_params" in name.split(".")
        if is_packed or (isinstance(value, Tensor) and value.is_quantized):
            raise XkdError(
                f"{where} holds the int8 weights of a network that torch.ao has quantised (in {short(name)}), which no "
                "float network takes; pass the quantised module by py:package.module:function, or the float weights "
                "that it was made of, or export it to ONNX"
            )
