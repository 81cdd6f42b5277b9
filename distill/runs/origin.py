"""What a training comes from, by which its state and its result are known again: recipe, images, teacher."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, JsonValue, ValidationError

from distill.data.identity import ImagesIdentity
from distill.recipe.fields import Strict
from distill.recipe.networks import PRETRAINED, TORCH, Student, Teacher
from distill.recipe.optimisation import Constant
from distill.recipe.schema import Recipe
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.weights.unwrapping import PART, parted
from xkd_eval.digests import digest_of
from xkd_eval.errors import XkdError
from xkd_eval.foreign import file_digest, reading

_MOST_NAMED = 5
_REMEDY = "another directory, or `overwrite`, starts afresh"


class Origin(Strict):
    """What a training comes from. Where it is equal, so is what comes of it, up to the machine's rounding.

    Attributes:
        recipe: see `Recipe.identity`.
        student: of `start_digest`; None where it starts from no file.
        trained, tested: the images that it is trained on, held-out ones included, and those that it is tested on.
        engines: by which the teachers are run that torch does not run; None where that is not asked, as of what `auto`
            chooses once the network is there.
        validated: those that select the epoch, where the data set has some of its own for that.
        teachers: the `teacher_digest` of each by name.
        answers: of those whose answers to the training images were stored, how they were and a digest of them.
    """

    recipe: dict[str, JsonValue]
    trained: ImagesIdentity
    tested: ImagesIdentity
    teachers: dict[str, str]
    student: str | None = None
    answers: dict[str, dict[str, JsonValue]] = Field(default={})
    engines: dict[str, str] | None = Field(default={})
    validated: ImagesIdentity | None = None


def start_digest(student: Student) -> str | None:
    """By what the file that a student starts from is known again: SHA-256 of its bytes, and the part of it
    that is named; None without one.

    Raises:
        XkdError: it cannot be read.
    """
    if student.weights is None or student.weights == PRETRAINED:
        return None
    with reading(f"student.weights: {student.weights!r} cannot be read", "expected a file of weights"):
        file, part = parted(student.weights)
        return file_digest(file) + (f"{PART}{part}" if part else "")


def teacher_digest(recipe: Teacher, teacher: Classifier) -> str:
    """By what a teacher is known again: its weights as they were loaded, what its network was built with, which may
    change what it computes and no weight, and its input convention."""
    return digest_of([teacher.digest(), recipe.arguments, teacher.preprocess.to_dict()])


def check_recipe(recipe: Recipe, theirs: Origin, directory: Path) -> None:
    """Refuse to go on with, or to take for this training, what another recipe left.

    Raises:
        XkdError: names the keys that differ.
    """
    differing = _differing(recipe.identity(), _with_defaults(theirs.recipe))
    if differing:
        longer = "`resume` goes on with it, " if goes_on(recipe, theirs) else ""
        raise XkdError(
            f"output {directory}: holds a run of another recipe; these differ: {', '.join(differing[:_MOST_NAMED])}; "
            f"{longer}{_REMEDY}"
        )


def goes_on(recipe: Recipe, theirs: Origin) -> bool:
    """Whether a recipe asks for what was trained, and for more epochs, which its schedules allow: none is shaped by
    the number of them."""
    former = _with_defaults(theirs.recipe)
    shaped = not isinstance(recipe.schedule, Constant) or any(loss.schedule for loss in recipe.losses)
    return not shaped and _differing(recipe.identity(), former) == ["epochs"] and recipe.epochs > former["epochs"]


def check_origin(ours: Origin, theirs: Origin, directory: Path) -> None:
    """Refuse to go on with, or to take for this training, what was made of other images or by another teacher.

    Args:
        ours: of the training that is asked for; of the same recipe.
        theirs: of the one in `directory`.
        directory: for the message.

    Raises:
        XkdError: says which differ.
    """
    for what, mine, other in (
        ("training", ours.trained, theirs.trained),
        ("validation", ours.validated, theirs.validated),
        ("test", ours.tested, theirs.tested),
    ):
        if mine != other:
            same = mine is not None and other is not None and mine.listing == other.listing
            in_what = "content, under the same names" if same else "names, labels or sizes"
            raise XkdError(
                f"output {directory}: holds a run on other {what} images, which differ in {in_what}; give the `data` "
                f"that it was on; {_REMEDY}"
            )
    if ours.student != theirs.student:
        raise XkdError(
            f"output {directory}: holds a run of a student that starts from other weights; give the `student.weights` "
            f"that it had, {_REMEDY}"
        )
    if ours.answers != theirs.answers:
        here, there = _answering(ours.answers), _answering(theirs.answers)
        how = "from other stored answers" if here == there else f"{there}, and not {here}"
        raise XkdError(f"output {directory}: holds a run that learned {how}; give the `teacher` as it was; {_REMEDY}")
    if ours.teachers != theirs.teachers:
        name = next((name for name, digest in ours.teachers.items() if theirs.teachers.get(name) != digest), "teacher")
        called = "" if name == "teacher" else f" {name}"
        raise XkdError(
            f"output {directory}: holds a run with another teacher{called}; give the `teacher` that it had; {_REMEDY}"
        )
    if ours.engines is not None and theirs.engines is not None and ours.engines != theirs.engines:
        here, there = _running(ours.engines), _running(theirs.engines)
        raise XkdError(
            f"output {directory}: holds a run whose teacher was run by {there}, and not by {here}; have the same "
            f"packages installed; {_REMEDY}"
        )


def _running(engines: dict[str, str]) -> str:
    """Which engines ran teachers, in words that follow "by"."""
    return ", ".join(dict.fromkeys(engines.values())) or TORCH


def _answering(answers: dict[str, dict[str, Any]]) -> str:
    """How teachers answered, in words that follow "learned"."""
    if not answers:
        return "from teachers that looked at the images"
    how = [
        f"{'all logits' if stored['top_k'] is None else 'the top {}'.format(stored['top_k'])}"
        f"{' and maps' if stored['maps'] else ''} of {name} in {stored['precision']}"
        for name, stored in answers.items()
    ]
    return f"from stored answers ({', '.join(how)})"


def _with_defaults(identity: dict[str, Any]) -> dict[str, Any]:
    """The identity of a recipe as it is written today: keys that came since are at their defaults."""
    # Before there was a choice the last batch of an epoch was left out.
    identity = {**identity, "data": {"drop_last": True, **identity["data"]}} if "data" in identity else identity
    try:
        return Recipe.model_validate(identity).identity()
    except ValidationError:  # it holds what no recipe holds any more
        return identity


def _differing(ours: Any, theirs: Any, place: str = "") -> list[str]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        keys = dict.fromkeys([*ours, *theirs])
        return [
            difference
            for key in keys
            for difference in _differing(ours.get(key), theirs.get(key), f"{place}.{key}" if place else key)
        ]
    return [] if ours == theirs else [place]
