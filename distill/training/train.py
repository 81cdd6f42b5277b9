"""train: a recipe in, a trained student in a directory out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from distill.recipe.files import as_recipe
from distill.recipe.schema import Recipe
from distill.runs.directory import TrainingDirectory, finished_in, hold
from distill.runs.layout import BEST, STATE, STUDENT, directory_name
from distill.runs.origins import Origins
from distill.training.captured_step import check_capturable
from distill.training.loop import TrainingLoop
from distill.training.precision import products
from distill.training.progress import TrainingProgress
from distill.training.result import TrainingResult
from distill.training.setup import set_up
from xkd_eval.ambient import plain_torch
from xkd_eval.arguments import public
from xkd_eval.classifiers.words import files_of
from xkd_eval.devices import process_state
from xkd_eval.errors import XkdError
from xkd_eval.files import check_output


@public()
@plain_torch()
@torch.inference_mode(False)
@torch.enable_grad()
def train(
    recipe: Recipe | str | Path | Mapping[str, Any],
    output: str | Path | None = None,
    *,
    overrides: Sequence[str] = (),
    device: str = "auto",
    runs: str | Path = "runs",
    resume: bool = False,
    overwrite: bool = False,
    capture: bool = False,
    force: bool = False,
    progress: TrainingProgress | None = None,
) -> TrainingResult:
    """Train a student and keep all of it in a directory.

    What the caller has set for torch, and what other threads draw at random, change nothing and stay as they are.

    Args:
        recipe: a Recipe; the name of one, "quickstart/kd"; a YAML file, "mine.yaml" or "mine.yaml:variant"; or nested
            plain values as such a file holds them under `recipe`.
        output: the directory; by default that of the recipe's name below `runs`.
        overrides: "key=value" texts that change the recipe: "epochs=60", "losses.exp_kd.weight=2000".
        device: "auto" or "cpu".
        runs: where the trainings of other recipes lie, for a teacher that is named by its recipe.
        resume: continue the training in `output`: an unfinished one, or by a constant schedule one of fewer epochs. On
            a CPU the weights come out as without the interruption.
        overwrite: discard the training in `output`.
        capture: launch each step as one CUDA graph; the result is the same up to rounding.
        force: train by a teacher that is not surely better than guessing on the images that select the epoch, too.
        progress: called with a TrainingPoint before the first step, after every step and after every epoch.

    Returns:
        The finished training. One that is already finished is not run again, if it is of the same images, teachers and
        starting weights.

    Raises:
        TrainingInterruptedError: by Ctrl-C or SIGTERM; the state is saved.
        XkdError: bad input, a loss that is not finite, a full disk, `capture` where it cannot be, another process that
            trains in `output`, a teacher or starting weights there that would
            be written over.

    Example:
        >>> import distill
        >>> short = ["data.images=96", "epochs=1", "student.preprocess.size=[16, 16]"]
        >>> result = distill.train("quickstart/plain", "runs/short", overrides=short, device="cpu")
        >>> result.path.name, list(result.metrics["epoch"])
        ('student.pt', [1])
        >>> classifier = result.student()
    """
    if resume and overwrite:
        raise XkdError("resume: found beside `overwrite`; give one of the two")
    resolved = as_recipe(recipe, overrides)
    if output is None:
        if not isinstance(recipe, str | Path):
            raise XkdError("output: missing; a recipe without a name has no directory of its own among the runs")
        output = Path(runs) / directory_name(str(recipe))
    main, output = process_state(device).is_main_process, Path(output)
    finished = not overwrite and finished_in(output, resolved, resume=resume) is not None
    if not finished:
        check_apart(resolved, output)
    # What is finished is only read, be it on a disk that cannot be written.
    with hold(output) if main and not finished else ExitStack():
        directory = TrainingDirectory(output, resolved, resume=resume, overwrite=overwrite, write=main)
        result = directory.result
        if result is not None:
            directory.check_origin(Origins().of(resolved, Path(runs)))
        else:
            with plain_torch(products(resolved)):
                setup = set_up(resolved, device, Path(runs))
                if capture:
                    check_capturable(setup)
                told = progress or (lambda point: None)
                result = TrainingLoop(setup, directory, told, capture=capture, force=force).run()
    return TrainingResult(directory.path, resolved, result)


def check_apart(recipe: Recipe, output: Path) -> None:
    """A training must not write over a teacher that it learns from, or over the weights that it starts from."""
    named: list[str | Path | None] = [recipe.student.weights]
    for teacher in recipe.named_teachers.values():
        named += [*files_of(teacher.model), teacher.weights]
    given = [name for name in named if name is not None]
    for name in (STUDENT, BEST, STATE) if given else ():
        check_output(output / name, given)
