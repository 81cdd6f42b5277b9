"""A student that ends in its teacher's head, where a method trains one: made of the recipe's before it is trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from distill.data.classes import Classes
from distill.data.joining import class_places
from distill.methods import Method
from distill.methods.simkd import SimKd, hidden_channels
from distill.recipe.networks import Teacher
from distill.recipe.schema import Recipe
from distill.training.networks import BuiltStudent, find_head, load_teacher
from xkd_eval.classifiers.architectures.reused_head import ReusedHead
from xkd_eval.classifiers.classifier import CamHead, Classifier
from xkd_eval.errors import XkdError

ARCHITECTURE = "reused_head"
"""As student.pt names it."""


def reuse_head(
    built: BuiltStudent, recipe: Recipe, runs: Path, classes: Classes, methods: Sequence[Method]
) -> BuiltStudent:
    """The student with a projector and a teacher's frozen head behind its last map, if a method trains it by them.

    Args:
        built: the recipe's, its CAM head proven.
        recipe: names the teachers.
        runs: where the runs lie that a teacher's recipe is looked for among.
        classes: the data's.
        methods: of the recipe's losses, in their order; the one that reuses a head is told that it is built in.

    Raises:
        XkdError: two such methods; a teacher without a linear head on the average of its map.
    """
    reusing = [(loss, method) for loss, method in zip(recipe.losses, methods, strict=True) if isinstance(method, SimKd)]
    if not reusing:
        return built
    if len(reusing) > 1:
        raise XkdError(f"losses: {len(reusing)} entries of simkd found; expected one, since a student has one head")
    loss, method = reusing[0]
    named = recipe.named_teachers
    teacher = _with_head(named[next(iter(named)) if loss.teacher is None else loss.teacher], runs)
    student = built.classifier
    assert student.head is not None and teacher.head is not None
    arguments = _arguments(built, student.head, teacher, method.factor)
    rest = {name: value for name, value in arguments.items() if name not in ("backbone", "arguments")}
    network = ReusedHead(student.model, **rest)
    _copy_head(network, teacher, class_places(classes, teacher))
    made = Classifier(
        network,
        student.preprocess,
        name=ARCHITECTURE,
        num_classes=classes.count,
        class_names=student.class_names,
        wordnet_ids=student.wordnet_ids,
    )
    find_head(made)
    if made.head is None:
        raise XkdError(f"losses: simkd: {student.name} with a projector has no CAM head: {made.head_refusal}")
    method.is_built_in = True
    frozen = tuple(f"backbone.{path}" for path in built.frozen)
    return BuiltStudent(made, arguments, frozen, (*built.notes, _note(student, network, teacher)))


def _with_head(recipe: Teacher, runs: Path) -> Classifier:
    """The teacher, of which the CAM head is read."""
    teacher = load_teacher(recipe, runs, frozenset({"features"}))
    if teacher.head is None or teacher.head.linear is None:
        raise XkdError(
            f"losses: simkd: {teacher.name} has no linear head to reuse, as the channels of its map are the classes; "
            "distil from another teacher, or by another loss"
        )
    return teacher


def _arguments(built: BuiltStudent, head: CamHead, teacher: Classifier, factor: int) -> dict[str, Any]:
    """Of the architecture, as plain values."""
    assert teacher.head is not None
    own, other = head.map_size, teacher.head.map_size
    size = [min(own[0], other[0]), min(own[1], other[1])]
    channels = teacher.head_weight.shape[1]
    has_layer = head.linear is not None and head.cosine is None and head.averaged is None
    return {
        "num_classes": built.classifier.num_classes,
        "backbone": built.classifier.name,
        "arguments": dict(built.arguments),
        "features": head.features,
        "inputs": _channels(built.classifier, head),
        "channels": channels,
        "hidden": hidden_channels(channels, factor),
        "size": None if tuple(size) == own else size,
        "linear": head.linear if has_layer else None,
        "layout": head.layout,
        "prefix": head.prefix,
        "relu": head.relu,
    }


def _channels(student: Classifier, head: CamHead) -> int:
    """Of the map as the module puts it out: a layer between pool and head may have changed them since."""
    unmoved = Classifier(
        student.model,
        student.preprocess,
        name=student.name,
        num_classes=student.num_classes,
        head=CamHead(head.features, None, head.layout, head.relu, (), head.map_size, 0.0, prefix=head.prefix),
    )
    size = (1, student.preprocess.channels, *student.preprocess.size)
    with torch.no_grad():
        return unmoved.forward_with_features(torch.zeros(size)).features.shape[1]


def _copy_head(network: ReusedHead, teacher: Classifier, places: list[int] | None) -> None:
    """The teacher's weights, of the data's classes, which are not trained."""
    weight, bias = teacher.head_weight, teacher.head_bias
    with torch.no_grad():
        network.linear.weight.copy_(weight if places is None else weight[places])
        network.linear.bias.copy_(bias if places is None else bias[places])
    network.linear.requires_grad_(False)


def _note(student: Classifier, network: ReusedHead, teacher: Classifier) -> str:
    assert student.head is not None
    more = sum(parameter.numel() for parameter in network.projector.parameters())
    return (
        f"student: {student.name} up to {student.head.features}, a projector of {more:,} parameters that is kept, and "
        f"the head of {teacher.name}, which is not trained"
    )
