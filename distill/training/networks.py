"""The two networks of a distillation, made and loaded as the recipe names them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

from torch import nn

from distill.data.classes import Classes
from distill.methods import Method
from distill.methods.base import Requirement
from distill.methods.taps import TapMethod
from distill.recipe.networks import Student, Teacher
from distill.runs.teachers import open_teacher
from xkd_eval.classifiers.arguments import described_values
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.copies import is_float32
from xkd_eval.classifiers.head import find_cam_head
from xkd_eval.classifiers.overrides import with_overrides
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.classifiers.sources import build_architecture
from xkd_eval.classifiers.trace import random_images
from xkd_eval.engines.eager import check_alone, check_finite
from xkd_eval.errors import CamHeadError, XkdError, renamed
from xkd_eval.foreign import reading, short
from xkd_eval.registry import nearest


def student_preprocess(recipe: Student) -> Preprocess:
    """The input convention that a recipe asks for.

    Raises:
        XkdError: a field that Preprocess has not, or a value out of its range.
    """
    return with_overrides(Preprocess(), _known_fields("student", recipe.preprocess))


def build_student(recipe: Student, classes: Classes, needs: frozenset[Requirement]) -> Classifier:
    """The network with random weights, its CAM head proven where a method needs one.

    Args:
        recipe: architecture, arguments and input convention.
        classes: the data's.
        needs: of the methods.

    Raises:
        XkdError: unknown architecture; no CAM in closed form although a method needs it; a network that could not be
            evaluated after its training.
    """
    arguments = {"num_classes": classes.count, **recipe.arguments}
    network = build_architecture(recipe.architecture, arguments, "student: the architecture")
    preprocess = student_preprocess(recipe)
    _check_answers(network, preprocess, recipe.architecture, classes.count)
    if "taps" in needs:
        _keep_activations(network)
    try:
        head = find_cam_head(network, preprocess) if "features" in needs else None
    except CamHeadError as error:
        why = str(error).partition("; use `explainer`")[0]  # no training has explainers
        raise XkdError(f"student: {recipe.architecture} has no CAM head, which a method needs: {why}") from None
    return Classifier(
        network,
        preprocess,
        name=recipe.architecture,
        num_classes=classes.count,
        class_names=classes.names,
        wordnet_ids=classes.wordnet_ids,
        head=head,
    )


def load_teacher(recipe: Teacher, runs: Path, needs: frozenset[Requirement]) -> Classifier:
    """The frozen teacher, in eval mode.

    Args:
        recipe: names it.
        runs: where the runs lie that `recipe.recipe` is looked for among.
        needs: of the methods that learn from it.

    Raises:
        XkdError: no such file, or no CAM in closed form although a method needs it.
    """
    _known_fields("teacher", recipe.preprocess)
    teacher = open_teacher(recipe, runs)
    if "taps" in needs:
        _keep_activations(teacher.model)
        teacher.head = find_cam_head(teacher.model, teacher.preprocess) if teacher.head is not None else None
    if "features" in needs and teacher.head is None:
        raise XkdError(f"teacher: {teacher.name} has no CAM head, which a method needs: {teacher.head_refusal}")
    return teacher.eval().requires_grad_(False)


def requirements(methods: Iterable[Method]) -> frozenset[Requirement]:
    """What the passes of student and teacher must hold for all of the methods."""
    return frozenset(need for method in methods for need in method.requires)


def tap_paths(methods: Iterable[Method], network: nn.Module, whose: str) -> tuple[str, ...]:
    """The modules that the methods compare: those they list, and the network's own stages where one lists none.

    Args:
        methods: of a recipe.
        network: names its `stages`, or does not.
        whose: "student" or "teacher".

    Raises:
        XkdError: a path that is no module.
    """
    paths: list[str] = []
    for method in methods:
        if isinstance(method, TapMethod):
            listed = getattr(method, f"{whose}_taps")
            paths += listed if listed is not None else getattr(network, "stages", ())
    known = [name for name, _ in network.named_modules() if name]
    for path in paths:
        if path not in known:
            raise XkdError(f"{whose}_taps: the {whose} has no module {path!r}; {nearest(path, known)}")
    return tuple(dict.fromkeys(paths))


def _check_answers(network: object, preprocess: Preprocess, name: str, num_classes: int) -> None:
    """Refuse a student that evaluation would refuse, before it is trained."""
    expected = f"expected an nn.Module in float32 that gives logits (B, {num_classes})"
    if not isinstance(network, nn.Module):
        raise XkdError(f"student: {name} made {short(network)}; {expected}")
    try:
        with reading(f"student: {name} cannot be evaluated", expected):
            if not is_float32(network):
                raise XkdError(f"student: {name} has weights of another precision; {expected}")
            classifier = Classifier(network, preprocess, name=name, num_classes=num_classes).private()
            check_alone(classifier)
            logits = classifier(random_images(preprocess, seed=0))
            if logits.shape[1] != num_classes or not logits.is_floating_point():
                raise XkdError(f"student: {name} gives {described_values(logits)}; {expected}")
            check_finite(logits, name, "noise")
    except XkdError as error:
        raise XkdError(renamed(str(error), {"model": "student"})) from None


def _known_fields(whose: str, preprocess: dict[str, Any]) -> dict[str, Any]:
    """A recipe's fields of Preprocess, if all of them are some."""
    known = [field.name for field in fields(Preprocess)]
    for name in preprocess:
        if name not in known:
            raise XkdError(f"{whose}.preprocess: nothing reads the key {name!r}; {nearest(name, known)}")
    return preprocess


def _keep_activations(network: nn.Module) -> None:
    """A tap before an activation that works in place would be overwritten by it."""
    for module in network.modules():
        if getattr(module, "inplace", False):
            module.inplace = False  # type: ignore[assignment]
