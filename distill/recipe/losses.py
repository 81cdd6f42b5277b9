"""An entry of a recipe's `losses`."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from distill.recipe.fields import LARGEST_FACTOR, MOST_EPOCHS_OF_GROWTH, Factor
from xkd_eval.foreign import short

Point = Annotated[
    tuple[Annotated[float, Field(ge=0, le=1)], Annotated[float, Field(ge=0, le=LARGEST_FACTOR)]], Field(strict=False)
]
"""How far a training is, and a factor there."""


class WeightedMethod(BaseModel):
    """An entry of `losses`: a method, its weight in the objective, and beside them the method's own options.

    Attributes:
        method: a name that `xkd-distill recipes --methods` lists, or "py:package.module:Class".
        name: what its results and overrides call it, where one method stands there more than once.
        teacher: which of the recipe's `teachers` it learns from; None where there is one, and else all of them, by the
            average of their logits.
        weight: what the sum of the method's losses is multiplied by.
        ramp_epochs: the weight grows in proportion to the epoch until this one.
        schedule: (progress, factor) points, from 0, the first epoch, to 1, the last; the weight is multiplied by what
            lies between them on straight lines: [[0, 1], [0.5, 1], [1, 0]] fades out over the second half.
    """

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)
    __pydantic_extra__: dict[str, JsonValue]

    method: str
    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$", max_length=60)] | None = None
    teacher: str | None = None
    weight: Factor = 1.0
    ramp_epochs: Annotated[int, Field(ge=0, le=MOST_EPOCHS_OF_GROWTH)] = 0

    schedule: Annotated[tuple[Point, ...], Field(min_length=1, strict=False)] | None = None

    @model_validator(mode="after")
    def _in_order(self) -> WeightedMethod:
        progress = [point[0] for point in self.schedule or ()]
        if progress != sorted(set(progress)):
            raise ValueError(f"schedule: progress {short(progress)} found; expected growing numbers from 0 to 1")
        return self

    @property
    def label(self) -> str:
        """What the entry is called."""
        return self.method if self.name is None else self.name

    def weight_in(self, epoch: int, epochs: int) -> float:
        """What the method's losses are multiplied by in epoch 1, 2, ... of `epochs`."""
        weight = self.weight * min(epoch / max(self.ramp_epochs, 1), 1.0)
        if self.schedule is None:
            return weight
        progress, factors = zip(*self.schedule, strict=True)
        return weight * float(np.interp((epoch - 1) / max(epochs - 1, 1), progress, factors))

    @property
    def options(self) -> dict[str, Any]:
        """The method's own, by name."""
        return dict(self.model_extra or {})
