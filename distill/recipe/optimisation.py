"""Optimisers and schedules of a recipe."""

from __future__ import annotations

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from distill.recipe.fields import MOST_EPOCHS_OF_GROWTH, Decay, Factor, Rate, Strict


class _Optimiser(Strict):
    """What every optimiser reads.

    Attributes:
        name: of the optimiser.
        learning_rate: what the schedule's factor multiplies.
        weight_decay: of the parameters that are decayed.
        decay: "all" parameters, or "matrices": neither biases, norms and other vectors nor what the network itself
            excepts.
        layer_decay: the learning rate is multiplied by it once for each layer or stage that lies above a parameter's;
            the head keeps the whole.
        rates: pattern of the student's parameters or modules ("stem", "head.*") to a factor of the learning rate; of
            several that match a parameter, all hold.
    """

    name: str
    learning_rate: Rate
    weight_decay: float = Field(default=0.0, ge=0, le=1)
    decay: Literal["all", "matrices"] = "all"
    layer_decay: float | None = Field(default=None, gt=0, le=1)
    rates: dict[str, Factor] = Field(default={})

    @model_validator(mode="after")
    def _something_to_decay(self) -> Self:
        if self.decay != "all" and self.weight_decay == 0:
            raise ValueError("decay: nothing is decayed, since weight_decay is 0; set it, or leave decay out")
        return self


class Sgd(_Optimiser):
    """Stochastic gradient descent with momentum."""

    name: Literal["sgd"]
    momentum: Decay = 0.9
    nesterov: bool = False

    @model_validator(mode="after")
    def _momentum_to_look_ahead_by(self) -> Sgd:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov: needs a momentum above 0; leave it out")
        return self


class AdamW(_Optimiser):
    """Adam with decoupled weight decay (Loshchilov & Hutter, ICLR 2019)."""

    name: Literal["adamw"]
    betas: Annotated[tuple[Decay, Decay], Field(strict=False)] = (0.9, 0.999)
    weight_decay: float = Field(default=0.01, ge=0, le=1)


class Dot(_Optimiser):
    """Stochastic gradient descent with a momentum of each kind of loss's gradient (DOT, Zhao et al., ICCV 2023).

    Attributes:
        momentum: mu.
        delta: mu - delta is the momentum of the losses that learn from no teacher, mu + delta that of the others.
    """

    name: Literal["dot"]
    momentum: Decay = 0.9
    delta: float = Field(default=0.075, gt=0, lt=1)

    @model_validator(mode="after")
    def _two_momenta(self) -> Dot:
        if not self.delta <= self.momentum < 1 - self.delta:
            raise ValueError(f"delta: momentum {self.momentum} less and plus it must lie in [0, 1); lower it")
        return self


_Moments = Literal["adam", "nadam", "nadamw", "radam", "adabelief", "adan", "lamb", "lion"]
_Momentum = Literal["lars", "rmsprop", "rmsproptf", "sgdw"]
_WITHOUT = {"betas": get_args(_Momentum), "momentum": get_args(_Moments), "eps": ("lion", "sgdw")}


class TimmOptimiser(_Optimiser):
    """An optimiser by timm's factory.

    Attributes:
        betas: of the running means; two of them, Adan's three. None is the optimiser's own, as all below.
        momentum: of the gradient.
        eps: what the denominator is kept from zero by.
    """

    name: _Moments | _Momentum
    betas: Annotated[tuple[Decay, ...], Field(strict=False)] | None = None
    momentum: Decay | None = None
    eps: float | None = Field(default=None, gt=0, le=1)

    @model_validator(mode="after")
    def _options_that_it_has(self) -> TimmOptimiser:
        for option in ("betas", "momentum", "eps"):
            if getattr(self, option) is not None and self.name in _WITHOUT[option]:
                raise ValueError(f"{option}: {self.name} has none; leave it out")
        number = 3 if self.name == "adan" else 2
        if self.betas is not None and len(self.betas) != number:
            raise ValueError(f"betas: {len(self.betas)} found; {self.name} takes {number}")
        return self


class _Schedule(Strict):
    """What schedules with a linear warm-up read.

    Attributes:
        warmup_epochs: over which the learning rate rises.
        warmup_start: the fraction of it that the rise starts from.
    """

    warmup_epochs: float = Field(default=0.0, ge=0, le=MOST_EPOCHS_OF_GROWTH)
    warmup_start: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _rise_to_start(self) -> Self:
        if self.warmup_start > 0 and self.warmup_epochs == 0:
            raise ValueError("warmup_start: there is no warm-up; set warmup_epochs, or leave it out")
        return self


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


Optimiser = Annotated[Sgd | AdamW | Dot | TimmOptimiser, Field(discriminator="name")]
Schedule = Annotated[Constant | MultiStep | Cosine | OneCycle, Field(discriminator="name")]
