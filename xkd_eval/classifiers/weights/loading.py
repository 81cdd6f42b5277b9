"""Weights into a network: all of them or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from xkd_eval.classifiers.weights.files import read_weight_file
from xkd_eval.classifiers.weights.matching import COUNTS, Layout, Match, matched
from xkd_eval.classifiers.weights.tensors import check_finite, kind_of, plain_tensors, single_precision
from xkd_eval.classifiers.weights.unwrapping import listed, parted, unwrapped_tensors
from xkd_eval.errors import XkdError
from xkd_eval.foreign import reading


@dataclass(frozen=True)
class Weights:
    """The user's weights.

    Attributes:
        path: the file as it was named, and behind a `#` the part of it that is meant.
        state_dict: its tensors with the keys that they have there.
        notes: how they were read, a sentence each.
    """

    path: str
    state_dict: Mapping[str, Tensor]
    notes: tuple[str, ...] = ()


def load_weights(model: nn.Module, path: str | Path, argument: str = "weights") -> tuple[str, ...]:
    """Load a weight file into `model`, which stays as it was where the file does not fit.

    Args:
        model: the architecture.
        path: .pt, .pth, .th or .safetensors, wrapped as training scripts wrap it (`state_dict`, `model`, `net`,
            `model_state_dict`, `ema`), with any prefix before the keys, and with others beside them; "w.pth#student" is
            its part `student`.
        argument: the option that named the file, for the messages.

    Returns:
        What is to be said of it, a sentence each: what was left out, or computed first.

    Raises:
        XkdError: no readable weights, or they do not fit: missing and unexpected keys and shapes are listed.
    """
    weights = read_weights(path, argument)
    return (*weights.notes, *load_state_dict(model, weights.state_dict, weights.path, argument))


def read_state_dict(path: str | Path, argument: str = "weights") -> dict[str, Tensor]:
    """The tensors of a weight file, out of their wrapping; keys keep their prefixes.

    Half, bfloat16 and float64 become float32, in which networks are evaluated: the first two exactly, the last rounded.

    Raises:
        XkdError: no readable file, no state dict in it, or one with values that are no plain numbers.
    """
    return dict(read_weights(path, argument).state_dict)


def read_weights(path: str | Path, argument: str = "weights") -> Weights:
    """`read_state_dict`, with what is to be said of it."""
    return weights_in(read_weight_file(parted(path)[0], argument), path, argument)


def weights_in(content: Any, path: str | Path, argument: str = "weights") -> Weights:
    """`read_weights` of what `read_weight_file` has read.

    Args:
        content: of the file.
        path, argument: the file, with its part, and the option that named it, for the messages.
    """
    where = f"{argument}: {str(path)!r}"
    found, notes = unwrapped_tensors(content, parted(path)[1], where)
    return Weights(str(path), single_precision(plain_tensors(found, where)), notes)


def load_state_dict(
    model: nn.Module,
    state_dict: Mapping[str, Tensor],
    source: str,
    argument: str = "weights",
    layouts: Sequence[Layout] = (),
) -> tuple[str, ...]:
    """Load a state dict into `model`, whole or not at all.

    Args:
        model: the architecture.
        state_dict: keys with any prefix, and others beside them.
        source: the file, for the messages.
        argument: the option that named it, for the messages.
        layouts: what the file may call the network's tensors; by default what it does itself.

    Returns:
        What is to be said of it, a sentence each.

    Raises:
        XkdError: a key is missing, unexpected, of another shape, or holds whole numbers where fractions belong, NaN or
            infinity; or the file holds several such networks.
    """
    found = matched(layouts or [Layout(_tensors(model.state_dict()))], state_dict, f"{argument}: {source!r}")
    load_match(model, found, source, argument)
    return found.notes


def load_match(model: nn.Module, found: Match, source: str, argument: str = "weights") -> None:
    """`load_state_dict` of what `matched` has found."""
    own = model.state_dict()
    what = f"{argument}: {source!r} does not fit {type(model).__name__}"
    check_match(own, found, what)
    check_finite(found.tensors, f"{argument}: {source!r}")
    with reading(what, "name another architecture"):
        model.load_state_dict({name: tensor for name, tensor in own.items() if name.endswith(COUNTS)} | found.tensors)


def check_match(own: Mapping[str, Any], found: Match, what: str) -> None:
    """Refuse what is not a network's, tensor by tensor.

    Args:
        own: its state dict, values of which are not looked at.
        found: of the file.
        what: begins the message: the argument, the file, and what it does not fit.

    Raises:
        XkdError: lists what is missing, unexpected, of another shape, or whole numbers where fractions belong.
    """
    faults = {name: names for name, names in _faults(own, found).items() if names}
    if faults:
        said = "; ".join(f"{len(names)} {fault} ({listed(names)})" for fault, names in faults.items())
        raise XkdError(
            f"{what}: of {len(own)} tensors {said}; name the architecture that the weights were trained with"
        )


def _tensors(state_dict: Mapping[str, Any]) -> dict[str, Tensor]:
    """Without what modules keep beside, as quantised ones do."""
    return {name: tensor for name, tensor in state_dict.items() if isinstance(tensor, Tensor)}


def _faults(own: Mapping[str, Any], found: Match) -> dict[str, list[str]]:
    given = found.tensors
    both = {name: (given[name], tensor) for name, tensor in _tensors(own).items() if name in given}
    return {
        "missing": [name for name in own if name not in given and not name.endswith(COUNTS)],
        "unexpected": [*(name for name in given if name not in own), *found.unexpected, *found.beside],
        "of another shape": [
            f"{name} is {tuple(theirs.shape)}, not {tuple(ours.shape)}"
            for name, (theirs, ours) in both.items()
            if theirs.shape != ours.shape
        ],
        "of another kind": [
            f"{name} holds {kind_of(theirs)}, not {kind_of(ours)}"
            for name, (theirs, ours) in both.items()
            if kind_of(theirs) != kind_of(ours) and not name.endswith(COUNTS)
        ],
    }
