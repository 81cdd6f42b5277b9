"""An entry of a recipe's `losses`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from distill.recipe.fields import MOST_EPOCHS_OF_GROWTH, Factor


class WeightedMethod(BaseModel):
    """An entry of `losses`: a method, its weight in the objective, and beside them the method's own options.

    Attributes:
        method: a name that `xkd-distill recipes --methods` lists, or "py:package.module:Class".
        weight: what the sum of the method's losses is multiplied by.
        ramp_epochs: the weight grows in proportion to the epoch until this one.
    """

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)
    __pydantic_extra__: dict[str, JsonValue]

    method: str
    weight: Factor = 1.0
    ramp_epochs: Annotated[int, Field(ge=0, le=MOST_EPOCHS_OF_GROWTH)] = 0

    @property
    def options(self) -> dict[str, Any]:
        """The method's own, by name."""
        return dict(self.model_extra or {})
