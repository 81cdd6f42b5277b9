"""A training stops before a loss, or weights, that are not finite are saved."""

from __future__ import annotations

from typing import NoReturn

import torch

from distill.runs.directory import TrainingDirectory
from distill.runs.layout import STATE
from distill.training.setup import TrainingSetup
from distill.training.state import Position
from xkd_eval.errors import XkdError


class FiniteChecks:
    """What is asked of a training's numbers; each of them waits for the device.

    Args:
        setup: of the training.
        directory: whose last state is named to go back to.
    """

    def __init__(self, setup: TrainingSetup, directory: TrainingDirectory) -> None:
        self._setup = setup
        self._directory = directory

    def losses(self, position: Position) -> None:
        """Raise XkdError if a loss of the epoch that is under way was not finite, in any process."""
        accelerator, teachers = self._setup.accelerator, self._setup.teachers
        bad = position.means.first_not_finite()
        flags = accelerator.gather(torch.tensor([bad is not None], device=accelerator.device))
        if bad is not None:
            step, name = bad
            if teachers is not None:
                teachers.check_finite()
            self.refuse(f"the loss {name} is not finite in step {step + 1} of epoch {position.epoch + 1}")
        if bool(flags.any()):
            raise XkdError("training: another process stopped on a loss that is not finite")

    def weights(self, position: Position) -> None:
        """Raise XkdError if the last step's gradient has spoilt weights that no loss has been computed by yet."""
        names, values = zip(*self._setup.objective.named_parameters(), strict=True)
        finite = torch.stack([value.isfinite().all() for value in values])
        if not bool(finite.all()):
            name = names[int(finite.logical_not().nonzero()[0])]
            self.refuse(f"the weights {name} are not finite after step {position.step} of epoch {position.epoch + 1}")

    def refuse(self, fault: str) -> NoReturn:
        """Raise XkdError for a fault, with what to do."""
        file = self._directory.path / STATE
        good = str(file) if file.is_file() else "the start: none was written yet"
        raise XkdError(
            f"training: {fault}; the last good checkpoint is {good}: lower the learning rate, or set clip_norm"
        )
