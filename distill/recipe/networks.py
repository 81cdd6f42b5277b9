"""Student and teacher, as a recipe names them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue, model_validator

from distill.recipe.fields import Strict
from xkd_eval.foreign import short

PRETRAINED = "pretrained"
"""As `student.weights`: those that timm or torchvision publish for the architecture."""
TORCH = "torch"
"""As `teacher.engine`; `xkd_eval.engines.plan` has the same, and imports torch, which recipes do without."""


class Student(Strict):
    """The network that is trained, from random weights or from given ones.

    Attributes:
        architecture: a project architecture ("resnet20"), "timm/NAME", "torchvision/NAME", or "py:package.module:name"
            for a class or function of one's own that returns the network.
        arguments: its keyword arguments; `num_classes` comes from the data, where it takes that.
        weights: what it starts from: a file of weights (.pt, .pth, .th, .safetensors), or "pretrained". A head of
            other classes is left out.
        freeze: what does not train: module paths, or globs over parameters' names.
        preprocess: fields of Preprocess that differ from the convention that `weights` were trained with, or from the
            defaults: size, mean, std, ...
    """

    architecture: str
    arguments: dict[str, JsonValue] = Field(default={})
    weights: str | None = None
    freeze: Annotated[tuple[str, ...], Field(strict=False)] = ()
    preprocess: dict[str, JsonValue] = Field(default={})


class Teacher(Strict):
    """The network that is distilled, by one of two names.

    Attributes:
        recipe: the recipe that trains it; its student is looked for among the runs.
        model: what `load_classifier` takes: a file as a rule, "timm/NAME", "py:package.module:function", ...
        weights: a file of weights for an architecture's name.
        arguments: keyword arguments of what `model` names: {img_size: 64}.
        preprocess: fields of Preprocess that override the teacher's own.
        stored: folder of its answers to the training images, as `xkd-distill store` leaves them: in the training they
            are read there, and the network itself only answers to the images that are not trained on.
        precision: "bf16" runs the network forward in bfloat16 whatever the recipe's precision, but for the head and
            convolutions that sum few terms; for training images alone, and not for losses that differentiate the
            teacher. Its logits and maps move by less than a hundredth of their norm.
        engine: what runs the network forward on training images, on a CPU: "torch"; "onnxruntime" or "openvino", in
            float32 whatever the recipe's precision, once it has given torch's outputs to 0.0001 of the largest, and not
            for losses that differentiate the teacher; "auto", the first of these that does, else torch, which is said.
        expected_top1: on what percentage of the test images the teacher is right that published figures are of. It
            stays where another teacher takes that one's place: of one that is more than a point off a line says so.
    """

    recipe: str | None = None
    model: str | None = None
    weights: str | None = None
    arguments: dict[str, JsonValue] = Field(default={})
    preprocess: dict[str, JsonValue] = Field(default={})
    stored: str | None = None
    precision: Literal["bf16"] | None = None
    engine: str = TORCH
    expected_top1: Annotated[float, Field(gt=0, le=100)] | None = None

    @model_validator(mode="after")
    def _one_name(self) -> Teacher:
        if (self.recipe is None) == (self.model is None):
            raise ValueError("recipe and model: give one of the two")
        if self.recipe is not None and self.weights is not None:
            raise ValueError("weights: nothing reads them beside 'recipe'; name the architecture as 'model'")
        if self.recipe is not None and self.arguments:
            raise ValueError("arguments: nothing reads them beside 'recipe', whose student says its own")
        if self.stored is not None and self.precision is not None:
            raise ValueError("precision: nothing reads it beside 'stored'; the answers are there")
        if self.engine != TORCH and self.stored is not None:
            raise ValueError("engine: nothing reads it beside 'stored'; the answers are there")
        if self.engine != TORCH and self.precision is not None:
            raise ValueError(f"engine: {short(self.engine)} runs in float32; leave it or 'precision' out")
        return self
