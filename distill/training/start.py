"""The weights that a student starts from: a file's, or those that timm or torchvision publish for its architecture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn

from distill.data.classes import Classes
from distill.recipe.networks import PRETRAINED, Student
from xkd_eval.classifiers.architectures import ARCHITECTURES, arguments_for_state_dict, layouts
from xkd_eval.classifiers.checkpoint import is_checkpoint, parsed_checkpoint
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.classifiers.proof.head import find_last_layers
from xkd_eval.classifiers.sources import pretrained
from xkd_eval.classifiers.weights.files import read_weight_file
from xkd_eval.classifiers.weights.loading import load_match, weights_in
from xkd_eval.classifiers.weights.matching import matched
from xkd_eval.classifiers.weights.positions import resized_positions
from xkd_eval.classifiers.weights.unwrapping import parted
from xkd_eval.datasets.labels import places_by_name
from xkd_eval.errors import XkdError, renamed
from xkd_eval.foreign import short

_ARGUMENT = "student.weights"


@dataclass(frozen=True)
class Start:
    """Weights from outside.

    Attributes:
        state_dict: name to tensor.
        source: where from, for the messages.
        preprocess: the input convention that they were trained with; None where nothing says it.
        names, wordnet_ids: of the classes of their head, or None.
        notes: what is to be said of how they were read, a sentence each.
    """

    state_dict: Mapping[str, Tensor]
    source: str
    preprocess: Preprocess | None
    names: tuple[str, ...] | None = None
    wordnet_ids: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()


def read_start(recipe: Student) -> Start | None:
    """What `student.weights` names.

    Raises:
        XkdError: no readable weights; or `pretrained` of an architecture that has none, or that cannot be downloaded.
    """
    if recipe.weights is None:
        return None
    if recipe.weights == PRETRAINED:
        return _published(recipe)
    path = parted(recipe.weights)[0]
    content = read_weight_file(path, _ARGUMENT)
    read = weights_in(content, recipe.weights, _ARGUMENT)
    if not is_checkpoint(content):
        return Start(read.state_dict, read.path, None, notes=read.notes)
    checkpoint = parsed_checkpoint(content, path, _ARGUMENT)
    return Start(read.state_dict, read.path, checkpoint.preprocess, checkpoint.class_names, checkpoint.wordnet_ids)


def _published(recipe: Student) -> Start:
    arguments = {name: value for name, value in recipe.arguments.items() if name != "num_classes"}
    try:
        found = pretrained(recipe.architecture, arguments)
    except XkdError as error:
        raise XkdError(renamed(str(error), {"model": _ARGUMENT})) from None
    return Start(found.module.state_dict(), f"{PRETRAINED} {recipe.architecture}", found.preprocess)


def start_from(
    network: nn.Module, recipe: Student, given: Start, preprocess: Preprocess, classes: Classes
) -> list[str]:
    """Load weights into a student: all of them, or all but a head of other classes, which stays random.

    Args:
        network: the student with random weights.
        recipe: what it was made by.
        given: the weights.
        preprocess: the student's input convention.
        classes: of the student.

    Returns:
        What is to be said of it, a sentence each.

    Raises:
        XkdError: a tensor other than the head's is missing, unexpected or of another shape; they are listed.
    """
    own = network.state_dict()
    where = f"{_ARGUMENT}: {given.source!r}"
    found = matched(layouts(recipe.architecture, own), given.state_dict, where, any_head=True)
    state = resized_positions(network, found.tensors, where)
    dropped = _heads_of_other_classes(own, state, classes.count)
    others = () if dropped else _other_classes(given, classes)
    renamed = _head(network, preprocess) if others else []
    absent = _absent_head(network, preprocess, state, dropped)
    fresh = {name: own[name] for name in [*dropped, *renamed, *absent]}
    # Of weights that do not fit, whatever lies beside them is part of the answer.
    beside = () if absent else found.beside
    try:
        load_match(network, replace(found, tensors={**state, **fresh}, beside=beside), given.source, _ARGUMENT)
    except XkdError as error:
        raise XkdError(f"{error}{_arguments_of(recipe, state)}") from None
    listed, notes = ", ".join(map(short, others[:3])), (*given.notes, *found.notes)
    if not fresh:
        unknown = f", although its classes are others or in another order ({listed}, ...)" if others else ""
        return [f"{_ARGUMENT}: all {len(own)} tensors are those of {given.source}{unknown}", *notes]
    counts = " and ".join(str(count) for count in sorted({len(state[name]) for name in dropped}))
    fault = f"its head of {counts} classes was dropped" if dropped else "it has no head"
    if renamed:
        fault = f"its head of as many classes, which are others or in another order ({listed}, ...), was dropped"
    return [
        f"{_ARGUMENT}: {len(own) - len(fresh)} of {len(own)} tensors are those of {given.source}; {fault}, and one of "
        f"{classes.count} starts from random weights ({', '.join(fresh)})",
        *notes,
    ]


def _arguments_of(recipe: Student, state: Mapping[str, Tensor]) -> str:
    """What the weights say of a CIFAR architecture's arguments, where the recipe says otherwise."""
    if not ARCHITECTURES.is_own(recipe.architecture):
        return ""
    try:
        found = arguments_for_state_dict(recipe.architecture, state)
    except XkdError:
        return ""
    others = {key: value for key, value in found.items() if key != "num_classes" and recipe.arguments.get(key) != value}
    return f" (they look like student.arguments={others})" if others else ""


def _absent_head(
    network: nn.Module, preprocess: Preprocess, state: Mapping[str, Tensor], dropped: Sequence[str]
) -> list[str]:
    """The head's tensors that the weights have not, where they have none of it but what was dropped.

    So it is of a self-supervised backbone. Half of a head beside a half that stays is no head of anything.
    """
    if not any(name in state for name in network.state_dict()):
        return []
    names = _head(network, preprocess)
    there = [name for name in names if name in state]
    return [name for name in names if name not in state] if set(there) <= set(dropped) else []


def _other_classes(given: Start, classes: Classes) -> tuple[str, ...]:
    """What the classes of a head of as many rows are called, where they are not the student's row by row.

    WordNet ids are compared with WordNet ids, names with names, which may be one of several synonyms.
    """
    if given.wordnet_ids and classes.wordnet_ids:
        return () if given.wordnet_ids == classes.wordnet_ids else given.wordnet_ids
    if not given.names or not classes.names:
        return ()
    places = places_by_name(classes.names, given.names)
    return () if [places.get(name) for name in classes.names] == list(range(classes.count)) else given.names


def _head(network: nn.Module, preprocess: Preprocess) -> list[str]:
    """The tensors of the layers that make the logits, which may be the average of two; none where it is not known."""
    paths = find_last_layers(network, preprocess)
    return [name for name in network.state_dict() if name.rpartition(".")[0] in paths]


def _heads_of_other_classes(own: Mapping[str, Tensor], given: Mapping[str, Tensor], num_classes: int) -> list[str]:
    """Tensors that differ in their rows alone, which are the student's classes, in a layer that is nothing else."""
    layers: dict[str, list[str]] = {}
    for name in own:
        layers.setdefault(name.rpartition(".")[0], []).append(name)
    heads = []
    for names in layers.values():
        if all(_is_head(own[name], given.get(name), num_classes) for name in names):
            heads += names
    return heads


def _is_head(own: Tensor, given: Tensor | None, num_classes: int) -> bool:
    return (
        given is not None
        and own.ndim > 0
        and own.ndim == given.ndim
        and len(own) == num_classes
        and len(given) != num_classes
        and own.shape[1:] == given.shape[1:]
    )
