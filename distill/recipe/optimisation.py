"""Optimisers and schedules of a recipe."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from distill.recipe.fields import MOST_EPOCHS_OF_GROWTH, Decay, Rate, Strict


class Sgd(Strict):
    """Stochastic gradient descent with momentum."""

    name: Literal["sgd"]
    learning_rate: Rate
    momentum: Decay = 0.9
    nesterov: bool = False
    weight_decay: float = Field(default=0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _momentum_to_look_ahead_by(self) -> Sgd:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov: needs a momentum above 0; leave it out")
        return self


class AdamW(Strict):
    """Adam with decoupled weight decay (Loshchilov & Hutter, ICLR 2019)."""

    name: Literal["adamw"]
    learning_rate: Rate
    betas: Annotated[tuple[Decay, Decay], Field(strict=False)] = (0.9, 0.999)
    weight_decay: float = Field(default=0.01, ge=0, le=1)


class _Schedule(Strict):
    """What schedules with a linear warm-up read, in epochs."""

    warmup_epochs: float = Field(default=0.0, ge=0, le=MOST_EPOCHS_OF_GROWTH)


class Constant(_Schedule):
    """The optimiser's learning rate throughout, after the warm-up."""

    name: Literal["constant"]


class MultiStep(_Schedule):
    """Times `factor` at each milestone, a fraction of all epochs, so that a shorter run keeps its shape."""

    name: Literal["multistep"]
    milestones: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], Field(strict=False)]
    factor: float = Field(default=0.1, gt=0, le=1)


class Cosine(_Schedule):
    """Half a cosine down to `final` times the learning rate."""

    name: Literal["cosine"]
    final: float = Field(default=0.0, ge=0, le=1)


class OneCycle(Strict):
    """A cosine up to the learning rate for `rise` of all steps, and one down from it (Smith & Topin, 2018)."""

    name: Literal["onecycle"]
    rise: float = Field(default=0.3, gt=0, lt=1)
    initial: float = Field(default=0.04, ge=0, le=1)
    final: float = Field(default=4e-6, ge=0, le=1)


Optimiser = Annotated[Sgd | AdamW, Field(discriminator="name")]
Schedule = Annotated[Constant | MultiStep | Cosine | OneCycle, Field(discriminator="name")]
