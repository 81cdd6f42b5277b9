"""Which of a file's tensors are a network's: found by names and shapes, whatever stands before them or lies beside."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from xkd_eval.classifiers.weights.folding import Folded, folded
from xkd_eval.classifiers.weights.unwrapping import AVERAGES, PART, listed
from xkd_eval.errors import XkdError
from xkd_eval.wording import counted

COUNTS = "num_batches_tracked"
"""Of training steps, which older files lack and no evaluation reads."""

# Counts that tools leave among the weights: batch norm, thop, torch's AveragedModel.
_HARMLESS = frozenset((COUNTS, "total_ops", "total_params", "n_averaged"))
_LISTED = 10
_MANY = 2  # keys of one part, above which the part is named
_DEEPEST = 16  # modules around a network; a name from outside may have any number of dots


@dataclass(frozen=True)
class Layout:
    """A network's tensors as a file may call them.

    Attributes:
        own: name to tensor, as the network has them; values are not looked at.
        names: own name to the file's; the same where it is left out.
        told: a sentence on names that are not the network's own.
    """

    own: Mapping[str, Tensor]
    names: Mapping[str, str] | None = None
    told: str = ""

    def in_file(self) -> dict[str, str]:
        """The file's name to the network's."""
        return {(self.names or {}).get(name, name): name for name in self.own}


@dataclass(frozen=True)
class Match:
    """What of a file is a network's.

    Attributes:
        tensors: by the network's names; where none fits, of what comes nearest.
        unexpected: names of what stands where its own do; none where one fits.
        beside: where none fits, names of all else, which belong into the message then.
        notes: what is to be said of it, a sentence each.
        layout: that fits; None where none does.
    """

    tensors: dict[str, Tensor]
    unexpected: tuple[str, ...]
    beside: tuple[str, ...]
    notes: tuple[str, ...]
    layout: Layout | None


@dataclass(frozen=True)
class _Candidate:
    prefix: str
    layout: Layout
    names: dict[str, str]  # of the file, without the prefix -> of the network


def matched(
    layouts: Sequence[Layout], state_dict: Mapping[str, Tensor], where: str, *, any_head: bool = False
) -> Match:
    """Find a network among a file's tensors: the prefix under which all of its names are, with their shapes.

    Args:
        layouts: what the network may be called, or may be, in the order in which they are tried.
        state_dict: as the file has it.
        where: begins the messages: the argument and the file.
        any_head: the number of classes is the file's, so that tensors may differ in their rows, all alike.

    Returns:
        The only one that fits. Of several with equal values the first; of a network and its moving average the
        network, which was trained; of a network and one within it the outer one, which is what was saved. Where none
        fits, what comes nearest, for the message.

    Raises:
        XkdError: several fit; they are named.
    """
    wanted = {name for layout in layouts for name in layout.in_file()}
    whole = folded(state_dict, lambda name: any(rest in wanted for _, rest in _splits(name)))
    candidates = [candidate for layout in layouts for candidate in _candidates(layout, whole.tensors)]
    fitting = [candidate for candidate in candidates if _fits(candidate, whole.tensors, any_head)]
    for group in (fitting, candidates):
        for is_renamed in (False, True):
            if alike := [candidate for candidate in group if bool(candidate.layout.told) == is_renamed]:
                return _match(_only(alike, whole.tensors, where), whole, where, is_found=True)
    return _match(_nearest(layouts, whole.tensors), whole, where, is_found=False)


def _splits(name: str) -> Iterator[tuple[str, str]]:
    """Everything that may be a prefix of a name, and the rest."""
    place = 0
    for _ in range(_DEEPEST):
        yield name[:place], name[place:]
        following = name.find(".", place) + 1
        if not following:
            return
        place = following


def _candidates(layout: Layout, given: Mapping[str, Tensor]) -> list[_Candidate]:
    """Where all names of a layout are, and none that would belong to the network if it were another."""
    names = layout.in_file()
    needed = {name for name in names if not name.endswith(COUNTS)}
    found = Counter(prefix for name in given for prefix, rest in _splits(name) if rest in needed)
    whole = [_Candidate(prefix, layout, names) for prefix, count in found.items() if count == len(needed)]
    return [candidate for candidate in whole if not _unexpected(candidate, given)]


def _nearest(layouts: Sequence[Layout], given: Mapping[str, Tensor]) -> _Candidate:
    best, most = _Candidate("", layouts[0], layouts[0].in_file()), 0
    for layout in layouts:
        names = layout.in_file()
        found = Counter(prefix for name in given for prefix, rest in _splits(name) if rest in names)
        for prefix, count in found.items():
            if count > most:
                best, most = _Candidate(prefix, layout, names), count
    return best


def _unexpected(candidate: _Candidate, given: Mapping[str, Tensor]) -> list[str]:
    """Names of the file that the network has not, and that stand where its own do: it would be another one.

    That is: of modules that are called as its own are, numbers aside (layer5, or fc beside what it lies in), and where
    its own lie also what follows a `_` (head_dist), and bare parameters (dist_token).
    """
    tops = {_stem(name.partition(".")[0]) for name in candidate.names}
    return [name for name in given if _is_within(name, candidate, tops)]


def _is_within(name: str, candidate: _Candidate, tops: set[str]) -> bool:
    if name.rpartition(".")[2] in _HARMLESS:
        return False
    prefix = candidate.prefix
    if name.startswith(prefix):
        rest = name[len(prefix) :]
        return rest not in candidate.names and ("." not in rest or _is_alike(rest.partition(".")[0], tops))
    shared = [before for before, _ in _splits(prefix) if name.startswith(before)]
    return any(_stem(name[len(before) :].partition(".")[0]) in tops for before in shared)


def _is_alike(module: str, tops: set[str]) -> bool:
    if module in AVERAGES:
        return False
    return _stem(module) in tops or any(top and module.startswith(f"{top}_") for top in tops)


def _stem(module: str) -> str:
    return re.sub(r"_?\d+$", "", module)


def _fits(candidate: _Candidate, given: Mapping[str, Tensor], any_head: bool) -> bool:
    rows = set()
    for name, own_name in candidate.names.items():
        tensor, own = given.get(candidate.prefix + name), candidate.layout.own[own_name]
        if tensor is None or tensor.shape == own.shape:
            continue
        if not any_head or not tensor.ndim or tensor.ndim != own.ndim or tensor.shape[1:] != own.shape[1:]:
            return False
        rows.add((len(own), len(tensor)))
    return len(rows) <= 1


def _only(candidates: list[_Candidate], given: Mapping[str, Tensor], where: str) -> _Candidate:
    trained = [one for one in candidates if not AVERAGES & set(one.prefix.split("."))] or candidates
    prefixes = {one.prefix for one in trained}
    outer = [one for one in trained if not any(before in prefixes - {one.prefix} for before, _ in _splits(one.prefix))]
    distinct = outer[:1]
    for candidate in outer[1:]:
        if not any(_are_equal(candidate, other, given) for other in distinct):
            distinct.append(candidate)
    if len(distinct) > 1:
        names = [candidate.prefix.rstrip(".") for candidate in distinct]
        raise XkdError(
            f"{where} holds {len(distinct)} networks of this architecture, under {listed(names, _LISTED)}; name the "
            f"one that is meant behind the file: FILE{PART}{listed(names[:1])}"
        )
    return distinct[0]


def _are_equal(one: _Candidate, other: _Candidate, given: Mapping[str, Tensor]) -> bool:
    """Whether two networks are the same one, which the file has twice."""
    theirs = {own: given.get(other.prefix + name) for name, own in other.names.items()}
    pairs = [(given.get(one.prefix + name), theirs.get(own)) for name, own in one.names.items()]
    return all(a is b or (a is not None and b is not None and torch.equal(a, b)) for a, b in pairs)


def _match(candidate: _Candidate, whole: Folded, where: str, *, is_found: bool) -> Match:
    given, prefix = whole.tensors, candidate.prefix
    taken = {prefix + name: own for name, own in candidate.names.items() if prefix + name in given}
    unexpected = _unexpected(candidate, given)
    others = {*taken, *unexpected}
    beside = [name for name in given if name not in others and name.rpartition(".")[2] not in _HARMLESS]
    argument = where.partition(":")[0]
    notes = [f"{argument}: {candidate.layout.told}"] if candidate.layout.told else []
    notes += whole.notes(argument, {name: given[name] for name in taken})
    if beside:
        parts = listed(_grouped(beside, prefix), _LISTED)
        were = "was" if len(beside) == 1 else "were"
        notes.append(f"{argument}: {counted(len(beside), 'key')} beside the network's {were} left out ({parts})")
    tensors = {own: given[name] for name, own in taken.items()}
    if is_found:
        return Match(tensors, (), (), tuple(notes), candidate.layout)
    first, second = (tuple(name.removeprefix(prefix) for name in names) for names in (unexpected, beside))
    return Match(tensors, first, second, tuple(notes), None)


def _grouped(names: Sequence[str], prefix: str) -> list[str]:
    """Names, those of one module that are many as the module's: "teacher.* (120)"."""
    groups: dict[str, list[str]] = {}
    for name in names:
        shared = [before for before, _ in _splits(prefix) if name.startswith(before)][-1]
        groups.setdefault(shared + name[len(shared) :].partition(".")[0], []).append(name)
    return [
        text
        for module, found in groups.items()
        for text in (found if len(found) <= _MANY else [f"{module}.* ({len(found)})"])
    ]
