"""A recipe: everything that determines a student, as data. What no code reads is not accepted."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from xkd_eval.errors import XkdError


class _Strict(BaseModel):
    """Unknown keys are errors that name the nearest known one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, values: Any) -> Any:
        unknown = [key for key in values if key not in cls.model_fields] if isinstance(values, Mapping) else []
        if unknown:
            raise ValueError(_unknown_key(str(unknown[0]), list(cls.model_fields)))
        return values


class Student(_Strict):
    """The network that is trained, from random weights.

    Attributes:
        architecture: a project architecture ("resnet20"), "timm/NAME" or "torchvision/NAME".
        arguments: its keyword arguments; `num_classes` comes from the data.
        preprocess: fields of Preprocess that differ from the defaults: size, mean, std, ...
    """

    architecture: str
    arguments: dict[str, Any] = {}
    preprocess: dict[str, Any] = {}


class Teacher(_Strict):
    """The network that is distilled, by one of two names.

    Attributes:
        recipe: the recipe that trains it; its student is looked for among the runs.
        model: what `load_classifier` takes, a file as a rule.
        weights: a file of weights for an architecture's name.
        preprocess: fields of Preprocess that override the teacher's own.
    """

    recipe: str | None = None
    model: str | None = None
    weights: str | None = None
    preprocess: dict[str, Any] = {}

    @model_validator(mode="after")
    def _one_name(self) -> Teacher:
        if (self.recipe is None) == (self.model is None):
            raise ValueError("recipe and model: give one of the two")
        if self.recipe is not None and self.weights is not None:
            raise ValueError("weights: nothing reads them beside 'recipe'; name the architecture as 'model'")
        return self


class Loss(BaseModel):
    """One term of the objective; the method's options stand beside its weight.

    Attributes:
        method: a name that `xkd-distill recipes --methods` lists.
        weight: of the sum of the method's terms.
        ramp_epochs: the weight grows in proportion to the epoch until this one.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    method: str
    weight: float = Field(default=1.0, gt=0)
    ramp_epochs: int = Field(default=0, ge=0)

    @property
    def options(self) -> dict[str, Any]:
        """The method's own."""
        return dict(self.model_extra or {})


class _Data(_Strict):
    """What both loaders share.

    Attributes:
        path: what `open_dataset` takes; None has to be given as `data`.
        images: train on a seeded, label-stratified sample of so many; of the embedded set, how many are made.
        val_split: share of the training images that is held out, never trained on and used to select the epoch.
        flip: mirror half of the images.
    """

    path: str | None = None
    images: int | None = Field(default=None, gt=0)
    val_split: float = Field(default=0.0, ge=0, lt=1)
    flip: bool = False


class DeviceData(_Data):
    """Small images: all of them on the training device as uint8, cropped and flipped there.

    Attributes:
        padding: zero pixels put around an image before a crop of its own size is cut out at random.
    """

    loader: Literal["device"] = "device"
    padding: int = Field(default=0, ge=0)


class WorkerData(_Data):
    """Photographs: decoded, cropped and resized by worker processes.

    Attributes:
        workers: processes on each node's device.
        scale: smallest and largest share of a photo's area that a random crop covers.
    """

    loader: Literal["workers"]
    workers: int = Field(default=8, ge=0)
    scale: tuple[float, float] = (0.08, 1.0)


class Sgd(_Strict):
    """Stochastic gradient descent with momentum."""

    name: Literal["sgd"]
    learning_rate: float = Field(gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: float = Field(default=0.0, ge=0)


class AdamW(_Strict):
    """Adam with decoupled weight decay (Loshchilov & Hutter, ICLR 2019)."""

    name: Literal["adamw"]
    learning_rate: float = Field(gt=0)
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = Field(default=0.01, ge=0)


class _Schedule(_Strict):
    warmup_epochs: float = Field(default=0.0, ge=0)


class Constant(_Schedule):
    """The optimiser's learning rate throughout, after the warm-up."""

    name: Literal["constant"]


class MultiStep(_Schedule):
    """Times `factor` at each milestone; milestones are shares of all epochs, so that a shorter run keeps its shape."""

    name: Literal["multistep"]
    milestones: tuple[Annotated[float, Field(gt=0, lt=1)], ...]
    factor: float = Field(default=0.1, gt=0)


class Cosine(_Schedule):
    """Half a cosine down to `final` times the learning rate."""

    name: Literal["cosine"]
    final: float = Field(default=0.0, ge=0, le=1)


class OneCycle(_Strict):
    """A cosine up to the learning rate for `rise` of all steps, and one down from it (Smith & Topin, 2018)."""

    name: Literal["onecycle"]
    rise: float = Field(default=0.3, gt=0, lt=1)
    initial: float = Field(default=0.04, ge=0, le=1)
    final: float = Field(default=4e-6, ge=0, le=1)


Data = Annotated[DeviceData | WorkerData, Field(discriminator="loader")]
Optimiser = Annotated[Sgd | AdamW, Field(discriminator="name")]
Schedule = Annotated[Constant | MultiStep | Cosine | OneCycle, Field(discriminator="name")]


class Recipe(_Strict):
    """A student, its teacher, its data, and how it is trained.

    Attributes:
        data, student, teacher, losses, optimiser, schedule: see their classes.
        epochs: passes over the training images; images that fill no batch are left for another epoch.
        batch_size: images an optimiser step, over all processes and all accumulated parts.
        accumulate: parts that a process splits its share of a batch into. Batch norm, and losses that compare the
            images of a batch, see one part.
        ema_decay: of a moving average of the weights, which is then what is evaluated and saved.
        clip_norm: upper bound of the gradient's L2 norm.
        precision: "bf16" computes the networks under autocast; losses stay in float32.
        channels_last: memory format of the networks; no result depends on it beyond rounding.
        compile: run the networks through torch.compile.
        seed: of the weights, the order of the images and their augmentation.
    """

    data: Data
    student: Student
    teacher: Teacher | None = None
    losses: tuple[Loss, ...] = Field(min_length=1)
    epochs: int = Field(gt=0)
    batch_size: int = Field(gt=0)
    accumulate: int = Field(default=1, gt=0)
    optimiser: Optimiser
    schedule: Schedule
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    clip_norm: float | None = Field(default=None, gt=0)
    precision: Literal["fp32", "bf16"] = "fp32"
    channels_last: bool = True
    compile: bool = False
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _distinct_losses(self) -> Recipe:
        names = [loss.method for loss in self.losses]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"losses: {name!r} stands there {names.count(name)} times; expected once")
        return self

    def identity(self) -> dict[str, Any]:
        """Plain values without where the files lie on this machine: equal for two runs of the same training."""
        values = self.model_dump(mode="json")
        values["data"].pop("path")
        values["data"].pop("workers", None)
        values.pop("teacher")
        return values


def parse_recipe(values: Mapping[str, Any], source: str = "recipe") -> Recipe:
    """Plain values as a Recipe.

    Args:
        values: nested, as YAML has them.
        source: whose they are, for the messages.

    Raises:
        XkdError: the first fault: an unknown key with the nearest known one, a missing key, a value out of range.
    """
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in _place(first["loc"], values))
        raise XkdError(f"{source}: {place + ': ' if place else ''}{_explained(first)}") from None


def nearest(name: str, known: list[str]) -> str:
    """The known names that a wrong one may mean, for a message."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"nearest: {', '.join(near)}" if near else f"expected one of {', '.join(known)}"


def _unknown_key(key: str, known: list[str]) -> str:
    return f"nothing reads the key {key!r}; {nearest(key, known)}"


def _place(location: tuple[int | str, ...], values: Any) -> list[int | str]:
    """The keys that lead to a fault, without the tags that pydantic adds for unions."""
    place = []
    for part in location:
        if isinstance(values, Mapping) and part not in values and part in (values.get("name"), values.get("loader")):
            continue
        place.append(part)
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            values = None
    return place


def _explained(fault: Any) -> str:
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "missing":
        return "missing; add it"
    if fault["type"] == "value_error":
        return message
    if fault["type"] == "union_tag_not_found":
        return f"the key {fault['ctx']['discriminator']} is missing"
    found = "" if fault["type"] == "union_tag_invalid" else f"{fault['input']!r} found; "
    return found + message[0].lower() + message[1:]
