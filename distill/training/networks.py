"""The two networks of a distillation, made and loaded as the recipe names them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from distill.data.classes import Classes
from distill.methods import Method
from distill.methods.base import Requirement
from distill.methods.taps import TapMethod
from distill.recipe.networks import Student, Teacher
from distill.runs.teachers import open_teacher
from distill.training.architecture import (
    SIZE,
    at_size,
    check_answers,
    check_no_softmax,
    check_token,
    pooled_otherwise,
    takes_size,
)
from distill.training.freezing import freeze
from distill.training.observed import EMBEDDING
from distill.training.preactivations import norms_in_front, preactivations_of
from distill.training.stage_maps import stages_of
from distill.training.start import read_start, start_from
from distill.training.trunk import Tap, Trunk, keep_activations
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.graphs.network import GraphNetwork
from xkd_eval.classifiers.hooks import takes_hooks
from xkd_eval.classifiers.outputs import BEFORE, Classifying
from xkd_eval.classifiers.overrides import with_overrides
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.classifiers.proof.head import find_cam_head, find_embedding
from xkd_eval.classifiers.proof.probes import random_images
from xkd_eval.classifiers.sources import build_architecture
from xkd_eval.errors import CamHeadError, XkdError
from xkd_eval.explainers.gradients import why_no_gradient
from xkd_eval.registry import nearest


@dataclass(frozen=True)
class BuiltStudent:
    """A network to be trained.

    Attributes:
        classifier: the network, its frozen parameters without gradient; by the name of its architecture.
        arguments: that its architecture was built with.
        frozen: paths of norms that stay in eval mode.
        notes: what is to be said of how it was made, a sentence each.
    """

    classifier: Classifier
    arguments: dict[str, Any]
    frozen: tuple[str, ...]
    notes: tuple[str, ...]


def student_preprocess(recipe: Student, own: Preprocess | None = None) -> Preprocess:
    """The input convention that a recipe asks for.

    Args:
        recipe: its fields override those of `own`, and the `img_size` that a network of timm is built for its size.
        own: the convention of the weights that the student starts from; the defaults without.

    Raises:
        XkdError: a field that Preprocess has not, or a value out of its range.
    """
    fields_of_recipe = _known_fields("student", recipe.preprocess)
    if takes_size(recipe.architecture) and SIZE in recipe.arguments:
        fields_of_recipe = {"size": recipe.arguments[SIZE], **fields_of_recipe}
    return with_overrides(own or Preprocess(), fields_of_recipe)


def build_student(recipe: Student, classes: Classes, needs: frozenset[Requirement]) -> BuiltStudent:
    """The network with random or given weights, its CAM head proven where a method needs one.

    Args:
        recipe: architecture, arguments, weights, what is frozen, and input convention.
        classes: the data's.
        needs: of the methods.

    Raises:
        XkdError: unknown architecture; weights or names that do not fit; no CAM in closed form although a method needs
            it; a network that could not be evaluated after its training.
    """
    arguments = {"num_classes": classes.count, **recipe.arguments}
    network = build_architecture(recipe.architecture, arguments, "student: the architecture")
    start = read_start(recipe)
    preprocess = student_preprocess(recipe, None if start is None else start.preprocess)
    network, arguments, notes_of_size = at_size(network, recipe.architecture, arguments, preprocess)
    check_answers(network, preprocess, recipe.architecture, classes.count)
    check_token(network, recipe.architecture, needs)
    notes = [*notes_of_size]
    if start is not None:
        notes += start_from(network, recipe, start, preprocess, classes)
    if start is not None and start.preprocess is not None and preprocess != student_preprocess(recipe):
        notes.append(f"student.preprocess: as {start.source} has it, where the recipe says nothing: {preprocess}")
    frozen = freeze(network, recipe.freeze)
    if "taps" in needs:
        keep_activations(network)
    student = Classifier(
        network,
        preprocess,
        name=recipe.architecture,
        num_classes=classes.count,
        class_names=classes.names,
        wordnet_ids=classes.wordnet_ids,
    )
    if not needs.isdisjoint(("features", "embedding", "explanations")):
        find_head(student)
    other_pool = partial(pooled_otherwise, recipe.architecture, arguments, preprocess)
    _check_head(student, "student", needs, other_pool)
    return BuiltStudent(student, arguments, frozen, tuple(notes))


def load_teacher(recipe: Teacher, runs: Path, needs: frozenset[Requirement]) -> Classifier:
    """The frozen teacher, in eval mode.

    Args:
        recipe: names it.
        runs: where the runs lie that `recipe.recipe` is looked for among.
        needs: of the methods that learn from it.

    Raises:
        XkdError: no such file; channels that no photograph has; no CAM in closed form, or no gradient, although a
            method needs it.
    """
    _known_fields("teacher", recipe.preprocess)
    teacher = open_teacher(recipe, runs)
    if not teacher.preprocess.takes_photographs:
        raise XkdError(
            f"teacher: {teacher.name} takes images of {teacher.preprocess.channels} channels; expected 3, RGB, or 1, "
            "their luminance"
        )
    # A graph computes nothing in place, and how its map is proven is another matter.
    if "taps" in needs and not any(isinstance(module, GraphNetwork) for module in teacher.model.modules()):
        keep_activations(teacher.model)
        if teacher.head is not None:
            find_head(teacher)
    _check_head(teacher, "teacher", needs)
    if "input gradients" in needs and (why := why_no_gradient(teacher)):
        raise XkdError(f"teacher: a method needs the gradient of a logit, and {teacher.name} {why}")
    with torch.no_grad():
        check_no_softmax(teacher(random_images(teacher.preprocess, seed=0)), f"teacher: {teacher.name}")
    return teacher.eval().requires_grad_(False)


def requirements(methods: Iterable[Method]) -> frozenset[Requirement]:
    """What the passes of student and teacher must hold for all of the methods."""
    return frozenset(need for method in methods for need in method.requires)


def taps_of(methods: Iterable[Method], classifier: Classifier, whose: str) -> tuple[Tap, ...]:
    """The modules that the methods compare: those they list, and where one lists none the network's stages, before
    their ReLU where it asks for these.

    Args:
        methods: of a recipe; those that list none are told the stages, all of the teacher's norms in front of its maps.
        classifier: student or teacher.
        whose: "student" or "teacher".

    Raises:
        XkdError: a path that is no module, or one whose output is no map; a network without stages, or of TorchScript.
    """
    comparing = [method for method in methods if isinstance(method, TapMethod)]
    if not comparing:
        return ()
    network = classifier.model
    inner = network.network if isinstance(network, Classifying) else network
    if not takes_hooks(inner):
        raise XkdError(
            f"{whose}: {classifier.name} is TorchScript, which shows no maps on the way; leave out the losses on them"
        )
    trunk = Trunk(network, classifier.preprocess)
    taps: list[Tap] = []
    for method in comparing:
        listed = getattr(method, f"{whose}_taps")
        if listed is None:
            find = preactivations_of if getattr(method, f"{whose}_maps") == "preactivations" else stages_of
            its = find(network, trunk)
            setattr(method, f"{whose}_stages", tuple(tap.name for tap in its))
        else:
            its = tuple(tap_at(path, network, trunk, f"{whose}_taps", whose) for path in listed)
        if whose == "teacher":
            method.teacher_norms = norms_in_front(its, trunk)
        taps += its
    return tuple({tap.name: tap for tap in taps}.values())


def tap_notes(methods: Iterable[Method]) -> list[str]:
    """A sentence for each method that does not list both networks' taps: what it compares; and what it says itself."""
    comparing = [method for method in methods if isinstance(method, TapMethod)]
    compared = [
        f"{method.name}: compares {', '.join(f'{own} with {other}' for own, other in method.paired)} "
        "(student with teacher); student_taps and teacher_taps choose others"
        for method in comparing
        if method.student_taps is None or method.teacher_taps is None
    ]
    return compared + [f"{method.name}: {method.remark}" for method in comparing if method.remark]


def tap_at(path: str, network: nn.Module, trunk: Trunk, argument: str, whose: str = "model") -> Tap:
    """The module of a path, as a map.

    Args:
        path: of the module in the network, or "before PATH" for what it is given.
        network: as it was traced.
        trunk: of it.
        argument: that listed the path.
        whose: what messages call the network.

    Raises:
        XkdError: a path that is no module, or one whose output is no map.
    """
    known, module = [name for name, _ in network.named_modules() if name], path.removeprefix(BEFORE)
    if module not in known:
        raise XkdError(f"{argument}: the {whose} has no module {module!r}; {nearest(module, known)}")
    tap = trunk.tap(path)
    if tap is None:
        values = trunk.values(path)
        found = "is not run" if values is None else f"{'is' if module != path else 'puts out'} {values.found}"
        if not takes_hooks(network.get_submodule(module)):
            found = "is TorchScript, which does not show what it puts out"
        raise XkdError(f"{argument}: {path!r} {found}; expected a map (B, C, h, w), or tokens (B, N, C) of an image")
    return tap


def find_head(classifier: Classifier) -> None:
    """Prove the CAM head anew, or remember why there is none."""
    try:
        classifier.head, classifier.head_refusal = find_cam_head(classifier.model, classifier.preprocess), ""
    except CamHeadError as error:
        classifier.head, classifier.head_refusal = None, str(error)


def proof_notes(classifier: Classifier, network: nn.Module) -> tuple[str, ...]:
    """Whether the map that a student was trained on is that of its final weights: a sentence where it is not.

    Args:
        classifier: with the CAM head of its first weights.
        network: with its last.
    """
    if classifier.head is None:
        return ()
    try:
        found = find_cam_head(network, classifier.preprocess)
    except CamHeadError as error:
        why = str(error)
    else:
        if (found.features, found.linear, found.averaged, found.steps) == (
            classifier.head.features,
            classifier.head.linear,
            classifier.head.averaged,
            classifier.head.steps,
        ):
            return ()
        why = f"it is {found}"
    return (f"student: the map of its first weights, {classifier.head}, is not proven of its last: {why}",)


def _check_head(
    classifier: Classifier, whose: str, needs: frozenset[Requirement], remedy: Callable[[], str] = str
) -> None:
    """Refuse a network without what the methods need of its head; remember where its embedding is.

    `remedy` ends the message, where it finds one.
    """
    name = classifier.name
    if "features" in needs and classifier.head is None:
        raise XkdError(f"{whose}: {name} has no CAM head, which a method needs: {classifier.head_refusal}{remedy()}")
    if "embedding" in needs and classifier.head is None:
        path = find_embedding(classifier.model, classifier.preprocess)
        if path is None:
            raise XkdError(
                f"{whose}: {name} has no embedding, which a method needs: no Linear layer or 1x1 convolution puts out "
                "its logits from one vector an image"
            )
        classifier.known[EMBEDDING] = path


def _known_fields(whose: str, preprocess: dict[str, Any]) -> dict[str, Any]:
    """A recipe's fields of Preprocess, if all of them are some."""
    known = [field.name for field in fields(Preprocess)]
    for name in preprocess:
        if name not in known:
            raise XkdError(f"{whose}.preprocess: nothing reads the key {name!r}; {nearest(name, known)}")
    return preprocess
