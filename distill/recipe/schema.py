"""A recipe: everything that determines a student, as data. What no code reads is not accepted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from xkd_eval.arguments import MOST_WORKERS
from xkd_eval.foreign import short
from xkd_eval.registry import nearest

# A 32-bit count: beyond it arithmetic overflows somewhere, and no training is meant.
_LARGEST_COUNT = 2**31 - 1
_LARGEST_PADDING = 1024
# Beyond it float32 makes nothing, or no number, of a product with what networks compute.
_LEAST_FACTOR, _LARGEST_FACTOR = 1e-6, 1e30
_MOST_EPOCHS_OF_GROWTH = 1000  # a longer warm-up or ramp never gets anywhere
_LEAST_SHARE = 0.01  # of a photo's area, below which crops of few pixels are replaced by others in silence

Count = Annotated[int, Field(gt=0, le=_LARGEST_COUNT)]
CountOrZero = Annotated[int, Field(ge=0, le=_LARGEST_COUNT)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
_Factor = Annotated[float, Field(ge=_LEAST_FACTOR, le=_LARGEST_FACTOR)]
_Rate = Annotated[float, Field(ge=1e-8, le=_LARGEST_FACTOR)]
_Share = Annotated[float, Field(ge=_LEAST_SHARE, le=1)]
_Decay = Annotated[float, Field(ge=0, lt=1)]


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


class Student(Strict):
    """The network that is trained, from random weights.

    Attributes:
        architecture: a project architecture ("resnet20"), "timm/NAME", "torchvision/NAME", or "py:package.module:name"
            for a class or function of one's own that takes `num_classes` and returns the network.
        arguments: its keyword arguments; `num_classes` comes from the data.
        preprocess: fields of Preprocess that differ from the defaults: size, mean, std, ...
    """

    architecture: str
    arguments: dict[str, JsonValue] = {}
    preprocess: dict[str, JsonValue] = {}


class Teacher(Strict):
    """The network that is distilled, by one of two names.

    Attributes:
        recipe: the recipe that trains it; its student is looked for among the runs.
        model: what `load_classifier` takes: a file as a rule, "timm/NAME", "py:package.module:function", ...
        weights: a file of weights for an architecture's name.
        preprocess: fields of Preprocess that override the teacher's own.
    """

    recipe: str | None = None
    model: str | None = None
    weights: str | None = None
    preprocess: dict[str, JsonValue] = {}

    @model_validator(mode="after")
    def _one_name(self) -> Teacher:
        if (self.recipe is None) == (self.model is None):
            raise ValueError("recipe and model: give one of the two")
        if self.recipe is not None and self.weights is not None:
            raise ValueError("weights: nothing reads them beside 'recipe'; name the architecture as 'model'")
        return self


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
    weight: _Factor = 1.0
    ramp_epochs: Annotated[int, Field(ge=0, le=_MOST_EPOCHS_OF_GROWTH)] = 0

    @property
    def options(self) -> dict[str, Any]:
        """The method's own, by name."""
        return dict(self.model_extra or {})


class _Data(Strict):
    """What both loaders read.

    Attributes:
        path: what `open_dataset` takes; None has to be given as `data`.
        images: train on a seeded, label-stratified sample of at most so many; of the embedded set, how many are made.
        val_split: fraction of the training images that is held out, never trained on and used to select the epoch.
        flip: mirror half of the images.
    """

    path: str | None = None
    images: Count | None = None
    val_split: float = Field(default=0.0, ge=0, lt=1)
    flip: bool = False


class DeviceData(_Data):
    """Small images: all of them on the training device as uint8, cropped and flipped there.

    Attributes:
        padding: zero pixels put around an image before a crop of its own size is cut out at random.
    """

    loader: Literal["device"] = "device"
    padding: Annotated[int, Field(ge=0, le=_LARGEST_PADDING)] = 0


class WorkerData(_Data):
    """Photographs: decoded, cropped and resized by worker processes.

    Attributes:
        workers: processes on each node's device.
        scale: smallest and largest fraction of a photo's area that a random crop covers.
    """

    loader: Literal["workers"]
    workers: Annotated[int, Field(ge=0, le=MOST_WORKERS)] = 8
    scale: Annotated[tuple[_Share, _Share], Field(strict=False)] = (0.08, 1.0)

    @model_validator(mode="after")
    def _smallest_first(self) -> WorkerData:
        if self.scale[0] > self.scale[1]:
            raise ValueError(f"scale: {list(self.scale)} found; expected the smallest fraction first")
        return self


class Sgd(Strict):
    """Stochastic gradient descent with momentum."""

    name: Literal["sgd"]
    learning_rate: _Rate
    momentum: _Decay = 0.9
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
    learning_rate: _Rate
    betas: Annotated[tuple[_Decay, _Decay], Field(strict=False)] = (0.9, 0.999)
    weight_decay: float = Field(default=0.01, ge=0, le=1)


class _Schedule(Strict):
    """What schedules with a linear warm-up read, in epochs."""

    warmup_epochs: float = Field(default=0.0, ge=0, le=_MOST_EPOCHS_OF_GROWTH)


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


Data = Annotated[DeviceData | WorkerData, Field(discriminator="loader")]
Optimiser = Annotated[Sgd | AdamW, Field(discriminator="name")]
Schedule = Annotated[Constant | MultiStep | Cosine | OneCycle, Field(discriminator="name")]


class Recipe(Strict):
    """A student, its teacher, its data, and how it is trained; frozen, its fields checked.

    Attributes:
        imports: modules that are imported before a name of this recipe is looked up, such as one that registers a
            method of one's own.
        data, student, teacher, losses, optimiser, schedule: see their classes.
        epochs: passes over the training images; images that fill no batch are left for another epoch.
        batch_size: images an optimiser step, over all processes and micro-batches.
        accumulate: micro-batches that a process splits its part of a batch into. Batch norm, and losses that compare
            the images of a batch, see one of them.
        ema_decay: of a moving average of the weights, which is then what is evaluated and saved.
        clip_norm: upper bound of the gradient's L2 norm.
        precision: "bf16" computes the networks under autocast; losses stay in float32.
        channels_last: memory format of the networks; no result depends on it beyond rounding.
        compile: run the networks through torch.compile.
        seed: of the weights, the order of the images and their augmentation.

    Raises:
        pydantic.ValidationError: a key that nothing reads, or a value out of range; `load_recipe` and `train` say the
            same in one line as an XkdError.

    Example:
        >>> import distill
        >>> recipe = distill.load_recipe("quickstart/kd", ["epochs=3"])
        >>> isinstance(recipe, distill.Recipe), recipe.epochs, [loss.method for loss in recipe.losses]
        (True, 3, ['ce', 'kd'])
    """

    imports: Annotated[tuple[str, ...], Field(strict=False)] = ()
    data: Data
    student: Student
    teacher: Teacher | None = None
    losses: tuple[WeightedMethod, ...] = Field(min_length=1, strict=False)
    epochs: Count
    batch_size: Count
    accumulate: Count = 1
    optimiser: Optimiser
    schedule: Schedule
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    clip_norm: _Factor | None = None
    precision: Literal["fp32", "bf16"] = "fp32"
    channels_last: bool = True
    compile: bool = False
    seed: Seed = 0

    @model_validator(mode="after")
    def _distinct_losses(self) -> Recipe:
        names = [loss.method for loss in self.losses]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"losses: {short(name)} stands there {names.count(name)} times; expected once")
        return self

    @model_serializer(mode="wrap")
    def _leave_out_no_imports(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A recipe without `imports` is written as it was before there were any, so that equal ones stay equal."""
        values = serialise(self)
        if not values.get("imports"):
            values.pop("imports", None)
        return values

    def identity(self) -> dict[str, Any]:
        """Plain values, without where the files lie on this machine: equal for two runs of one training."""
        values = self.model_dump(mode="json")
        values["data"].pop("path")
        values["data"].pop("workers", None)
        values.pop("teacher")
        return values
