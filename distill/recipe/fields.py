"""What all parts of a recipe are made of: strict models, and numbers within the ranges that mean something."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from xkd_eval.foreign import short
from xkd_eval.registry import nearest

# A 32-bit count: beyond it arithmetic overflows somewhere, and no training is meant.
_LARGEST_COUNT = 2**31 - 1
# Beyond it float32 makes nothing, or no number, of a product with what networks compute.
_LEAST_FACTOR, LARGEST_FACTOR = 1e-6, 1e30
MOST_EPOCHS_OF_GROWTH = 1000
"""A longer warm-up or ramp never gets anywhere."""

Count = Annotated[int, Field(gt=0, le=_LARGEST_COUNT)]
CountOrZero = Annotated[int, Field(ge=0, le=_LARGEST_COUNT)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Factor = Annotated[float, Field(ge=_LEAST_FACTOR, le=LARGEST_FACTOR)]
Rate = Annotated[float, Field(ge=1e-8, le=LARGEST_FACTOR)]
Decay = Annotated[float, Field(ge=0, lt=1)]


class Strict(BaseModel):
    """Unknown keys are errors that name the nearest known one; true is no number, and 3.0 and "3" no whole one."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, values: Any) -> Any:
        unknown = [key for key in values if key not in cls.model_fields] if isinstance(values, Mapping) else []
        if unknown:
            key = str(unknown[0])
            raise ValueError(f"nothing reads the key {short(key)}; {nearest(key, list(cls.model_fields))}")
        return values
