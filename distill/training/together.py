"""Several trainings in step: a batch is drawn and put through the teacher once, then each student takes its step.

Each student's files are what its training alone would leave, and each is continued alone or with others.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

import torch
from torch import nn

from distill.runs.directory import TrainingDirectory, hold
from distill.runs.interruption import StopRequest, TrainingInterruptedError
from distill.runs.job import TrainingJob
from distill.training.lessons import Common
from distill.training.loop import TrainingLoop
from distill.training.precision import products
from distill.training.progress import TrainingProgress
from distill.training.result import TrainingResult
from distill.training.setup import accelerator_of, join
from distill.training.train import check_apart, train
from xkd_eval.ambient import plain_torch
from xkd_eval.devices import free_memory
from xkd_eval.errors import XkdError
from xkd_eval.foreign import reason

_COPIES = 4  # of its weights that a student keeps between its steps: they, two buffers of an optimiser, an average
_SHARE = 0.25  # of the memory; the rest is for the images, the teacher and one student's step

Ended = Callable[[int, TrainingResult | XkdError], None]
"""Told of each training's end, by its number."""


@plain_torch()
@torch.inference_mode(False)
@torch.enable_grad()
def train_together(jobs: Sequence[TrainingJob], progress: Sequence[TrainingProgress], ended: Ended) -> None:
    """Make trainings of one `lesson_key` in step, as many at a time as the memory holds.

    One that fails, or cannot be set up beside the others, leaves these as they are; the latter is made alone.

    Args:
        jobs: none with `capture` or `overwrite`; on one device.
        progress: of each.
        ended: called once for each.

    Raises:
        TrainingInterruptedError: by Ctrl-C or SIGTERM; all states are saved.
    """
    left = list(range(len(jobs)))
    while left:
        group = _Group(jobs, left, progress)
        with StopRequest() as stop, group, plain_torch(products(jobs[left[0]].recipe)):
            for number, outcome in group.run(stop):
                left.remove(number)
                ended(number, outcome)
        for number in group.apart:
            _check(stop)
            left.remove(number)
            ended(number, _alone(jobs[number], progress[number]))
        _check(stop)


class _Group:
    """Trainings in step; entered, it holds their directories.

    Args:
        jobs: of which they are some.
        numbers: of those that are still to be made.
        progress: of each job.

    Attributes:
        apart: numbers of those that have to be made alone.
    """

    def __init__(
        self, jobs: Sequence[TrainingJob], numbers: Sequence[int], progress: Sequence[TrainingProgress]
    ) -> None:
        self._jobs, self._progress = jobs, progress
        self._numbers = list(numbers)
        self.apart: list[int] = []
        self._stack = ExitStack()

    def __enter__(self) -> _Group:
        self._stack.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def run(self, stop: StopRequest) -> Iterator[tuple[int, TrainingResult | XkdError]]:
        """Make them, always the one that is furthest behind; each is given when it has ended."""
        loops = self._loops(stop)
        steps = {number: loop.steps(stop) for number, loop in loops.items()}
        places = dict.fromkeys(loops, (-1, 0))
        interrupted: TrainingInterruptedError | None = None
        while steps:
            number = min(steps, key=places.__getitem__)
            try:
                place = next(steps[number], None)
                if place is not None:
                    places[number] = place
                    continue
                outcome: TrainingResult | XkdError = _finished(loops[number])
            except TrainingInterruptedError as error:  # the others take one more step, and save, too
                interrupted = error
                del steps[number]
                continue
            except Exception as error:
                outcome = _as_outcome(error)
            del steps[number]
            _forget(loops.pop(number))
            yield number, outcome
        if interrupted is not None:
            raise interrupted

    def _loops(self, stop: StopRequest) -> dict[int, TrainingLoop]:
        """The trainings that can be made in step and fit into the memory, by number, set up."""
        first = self._jobs[self._numbers[0]]
        accelerator = accelerator_of(first.device)
        try:
            common = Common([self._jobs[number].recipe for number in self._numbers], accelerator, first.runs)
        except Exception:  # whose fault it is shows when each is made by itself
            self.apart = self._numbers
            return {}
        loops: dict[int, TrainingLoop] = {}
        held, room = 0, _memory(accelerator.device)
        for place, number in enumerate(self._numbers):
            if loops and held > room:
                break
            _check(stop)
            try:
                loops[number] = self._set_up(number, common, place)
            except Exception:  # which its training alone meets again, and says
                self.apart.append(number)
                continue
            held += _held(loops[number].setup.objective)
        return loops

    def _set_up(self, number: int, common: Common, place: int) -> TrainingLoop:
        job = self._jobs[number]
        check_apart(job.recipe, job.directory)
        with ExitStack() as held:
            held.enter_context(hold(job.directory))
            directory = TrainingDirectory(job.directory, job.recipe, resume=job.resume, overwrite=False, write=True)
            if directory.result is not None:
                raise XkdError(f"output {job.directory}: is finished")  # which its training alone finds and gives
            loop = TrainingLoop(
                join(job.recipe, common, place), directory, self._progress[number], capture=False, force=job.force
            )
            self._stack.push(held.pop_all())
        return loop


def _finished(loop: TrainingLoop) -> TrainingResult:
    return TrainingResult(loop.directory.path, loop.recipe, loop.finish())


def _alone(job: TrainingJob, progress: TrainingProgress) -> TrainingResult | XkdError:
    try:
        return train(
            job.recipe,
            job.directory,
            device=job.device,
            runs=job.runs,
            resume=job.resume,
            force=job.force,
            progress=progress,
        )
    except TrainingInterruptedError:
        raise
    except Exception as error:
        return _as_outcome(error)


def _check(stop: StopRequest) -> None:
    """Between two trainings nothing is lost by a stop."""
    if stop.made:
        raise TrainingInterruptedError("stopped; what is done is kept: the same command continues", stop.number)


def _as_outcome(error: Exception) -> XkdError:
    """What ends one training and no other: bad input, or whatever somebody's layer or method raises."""
    if isinstance(error, XkdError):
        return error
    if torch.cuda.is_available():
        torch.cuda.empty_cache()  # of what did not fit
    return XkdError(f"training: it failed ({reason(error)}); `together` of 1 shows where")


def _forget(loop: TrainingLoop) -> None:
    """Let go of a student that has ended: the accelerator keeps all that it has prepared."""
    accelerator, setup = loop.setup.accelerator, loop.setup
    accelerator._models = [model for model in accelerator._models if model is not setup.wrapped]
    accelerator._optimizers = [one for one in accelerator._optimizers if one is not setup.optimiser]


def _held(objective: nn.Module) -> int:
    """Bytes that a student and its methods take between their steps."""
    values = [*objective.parameters(), *objective.buffers()]
    return _COPIES * sum(value.numel() * value.element_size() for value in values)


def _memory(device: torch.device) -> int:
    """Bytes that the students of a device may take between their steps."""
    if device.type == "cuda":
        return int(_SHARE * free_memory(device))
    return int(_SHARE * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
