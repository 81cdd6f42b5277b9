"""What models answer to the photographs themselves, for a test that chooses among them before it makes images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class ModelAnswers:
    """One model's answers to N photographs, in the data set's order.

    Attributes:
        predicted: (N,) int64 class; -1 where the photograph could not be read.
        probability: (N,) float64 of that class, by softmax; NaN where it could not be read.
        label: (N,) int64 among the model's classes, -1 where there is none.
    """

    predicted: np.ndarray
    probability: np.ndarray
    label: np.ndarray


class Answers(Protocol):
    """The answers of all models of a study to one data set. They are computed when they are first asked for.

    Attributes:
        models: their names, the reference first.
    """

    @property
    def models(self) -> tuple[str, ...]: ...

    def of(self, model: str, *, labels: bool = False) -> ModelAnswers:
        """One model's answers.

        Args:
            model: its name.
            labels: whether the test reads labels; elsewhere a set of other classes is no error.

        Raises:
            XkdError: labels are required, and the set's classes are not the model's; whatever the pass raises.
        """
        ...

    def check_grids(self, side: int) -> None:
        """Raise XkdError, before any photograph is read, for a model that cannot be given grids of that side."""
        ...
