"""xkd-distill store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from distill.cli import options as o
from xkd_eval.cli.console import console, keeping_what_is_done
from xkd_eval.errors import XkdError
from xkd_eval.foreign import short

EXAMPLES = """[b]Examples[/b]

xkd-distill store mine.yaml --set data.rounds=30 -o answers/

xkd-distill train mine.yaml --set data.rounds=30 --set teacher.stored=answers/ --seeds 0,1,2

xkd-distill store exp-kd/cifar100/resnet56-resnet20 --data cifar100/ --set data.rounds=10 --top-k all --maps -o answers/

xkd-distill store mine.yaml --teacher-name large --top-k 20

[b]What is stored[/b]

A file for each of data.rounds augmentations of all training images, held-out ones too, and an index.

The same command goes on where it was stopped; a larger data.rounds adds to what is there."""

STORED = "What is stored"

_Recipe = Annotated[str, typer.Argument(help="A recipe that names the teacher, or with --teacher.")]
_Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="The folder; by default the teacher's `stored`.", rich_help_panel=STORED),
]
_TeacherName = Annotated[str | None, typer.Option(help="Which of several `teachers`.", rich_help_panel=o.WHAT)]
_TopK = Annotated[
    str, typer.Option(help="The most probable classes of each answer; or all, its logits.", rich_help_panel=STORED)
]
_Maps = Annotated[
    bool, typer.Option("--maps", help="The last maps, too, which exp_kd and others compare.", rich_help_panel=STORED)
]
_Force = Annotated[
    bool,
    typer.Option(
        "--force", help="Store a teacher that is not surely better than guessing, too.", rich_help_panel=o.HOW
    ),
]


def store(
    name: _Recipe,
    data: o.Data = None,
    teacher: o.Teacher = None,
    teacher_weights: o.TeacherWeights = None,
    teacher_name: _TeacherName = None,
    overrides: o.Overrides = None,
    imports: o.Imports = None,
    test_split: o.TestSplit = None,
    output: _Output = None,
    top_k: _TopK = "10",
    maps: _Maps = False,
    runs: o.Runs = Path("runs"),
    device: o.Device = "auto",
    precision: o.Precision = None,
    compile: o.Compile = False,
    force: _Force = False,
) -> None:
    """Store a teacher's answers to all training images, for any number of students."""
    from distill.cli.progress import storing_progress
    from distill.runs.changes import RecipeChanges, changed_recipe, distils
    from distill.training.store import store_answers

    changes = RecipeChanges(
        data=data,
        teacher=teacher,
        teacher_weights=teacher_weights,
        test_split=test_split,
        precision=None if precision is None else precision.value,
        compile=compile,
        imports=tuple(imports or ()),
        overrides=tuple(overrides or ()),
    )
    kept = _top_k(top_k)
    recipe = changed_recipe(name, changes)
    if teacher is not None and not distils(recipe):
        raise XkdError(f"teacher: no loss of {name} distils, so nothing reads it; name a recipe of one that does")
    with keeping_what_is_done(), storing_progress() as progress:
        stored = store_answers(
            recipe,
            output,
            teacher_name=teacher_name,
            top_k=kept,
            maps=maps,
            device=device,
            runs=runs,
            force=force,
            progress=progress,
        )
    said = f"{stored.path}: {stored.rounds} rounds of {stored.source.n_images:,} images, {stored.bytes:,} bytes"
    console.print(said, highlight=False, markup=False, soft_wrap=True)


def _top_k(text: str) -> int | Literal["all"]:
    if text == "all":
        return "all"
    if not (text.isascii() and text.isdecimal() and 0 < len(text) < 10 and int(text) > 0):
        raise XkdError(f"top_k: {short(text)} found; expected a number of classes, or all")
    return int(text)
