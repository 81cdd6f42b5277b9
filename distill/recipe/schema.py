"""A recipe: everything that determines a student, as data. What no code reads is not accepted."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from distill.recipe.data import Data
from distill.recipe.fields import Count, Factor, Seed, Strict
from distill.recipe.losses import WeightedMethod
from distill.recipe.networks import PRETRAINED, TORCH, Student, Teacher
from distill.recipe.optimisation import Optimiser, Schedule
from xkd_eval.foreign import short

TeacherName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$", max_length=60)]


class Recipe(Strict):
    """A student, its teacher, its data, and how it is trained; frozen, its fields checked.

    Attributes:
        imports: modules ("package.module", or files: mine.py) that are imported before a name of this recipe is looked
            up, such as one that registers a method of one's own.
        data, student, teacher, losses, optimiser, schedule: see their classes.
        teachers: several, by name, in place of `teacher`; `losses` name the one that they learn from.
        epochs: passes over the training images; images that fill no batch are left for another epoch.
        patience: stop after so many epochs in a row that were not the best on the validation images.
        select_on_test: without validation images, keep the epoch that is the best on the test images: its accuracy on
            them is then an optimistic one.
        batch_size: images an optimiser step, over all processes and micro-batches.
        accumulate: micro-batches that a process splits its part of a batch into. Batch norm, and losses that compare
            the images of a batch, see one of them.
        ema_decay: of a moving average of the weights, which is then what is evaluated and saved; the decay rises to it
            with the steps.
        clip_norm: upper bound of the gradient's L2 norm.
        precision: "bf16" and "fp16" compute the networks under autocast; losses stay in float32. In fp16 the gradient
            is scaled, and a step in which it overflows is skipped. "tf32" is float32 whose products an NVIDIA GPU makes
            of TF32, as torch does there by itself in convolutions.
        gradient_checkpointing: compute the student's stages once more for their gradient, instead of keeping what they
            made.
        sync_batch_norm: batch norm sees the images of all processes.
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
    teachers: Annotated[dict[TeacherName, Teacher], Field(min_length=1)] | None = None
    losses: tuple[WeightedMethod, ...] = Field(min_length=1, strict=False)
    epochs: Count
    patience: Count | None = None
    select_on_test: bool = False
    batch_size: Count
    accumulate: Count = 1
    optimiser: Optimiser
    schedule: Schedule
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    clip_norm: Factor | None = None
    precision: Literal["fp32", "tf32", "bf16", "fp16"] = "fp32"
    gradient_checkpointing: bool = False
    sync_batch_norm: bool = False
    channels_last: bool = True
    compile: bool = False
    seed: Seed = 0

    @model_validator(mode="after")
    def _distinct_losses(self) -> Recipe:
        names = [loss.label for loss in self.losses]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"losses: {short(name)} stands there {names.count(name)} times; give each a `name`")
        return self

    @model_validator(mode="after")
    def _known_teachers(self) -> Recipe:
        if self.teacher is not None and self.teachers is not None:
            raise ValueError("teacher: found beside `teachers`; give one of the two")
        for loss in self.losses:
            if loss.teacher is not None and loss.teacher not in self.named_teachers:
                known = ", ".join(self.teachers or ()) or "none"
                raise ValueError(f"losses: {loss.label} learns from {short(loss.teacher)}; `teachers` names {known}")
        return self

    @model_validator(mode="after")
    def _gradients_of_the_optimiser(self) -> Recipe:
        """Dot takes two gradients a step, which are neither added up, nor scaled, nor clipped together."""
        if self.optimiser.name == "dot":
            for key, plain in (("accumulate", 1), ("clip_norm", None)):
                if getattr(self, key) != plain:
                    raise ValueError(f"{key}: the optimiser dot takes two gradients a step; leave one of the two out")
            if self.compile:
                raise ValueError("compile: the optimiser dot takes two gradients a step; leave one of the two out")
            if self.precision == "fp16":
                raise ValueError("precision: the optimiser dot takes two gradients a step; set bf16 or fp32")
        return self

    @property
    def named_teachers(self) -> dict[str, Teacher]:
        """All teachers by name; a single one is called "teacher"."""
        if self.teachers is not None:
            return self.teachers
        return {} if self.teacher is None else {"teacher": self.teacher}

    def identity(self) -> dict[str, Any]:
        """Plain values, without where the files lie on this machine: equal for two runs of one training."""
        values = self.model_dump(mode="json")
        values["data"].pop("path")
        values["data"].pop("workers", None)
        values.pop("teacher")
        if self.teacher is not None and (self.teacher.precision, self.teacher.engine) != (None, TORCH):
            values["teacher"] = _known_by_digest("teacher", self.teacher)
        if self.student.weights not in (None, PRETRAINED):
            values["student"]["weights"] = "file"  # which is known by its digest
        values["imports"] = [name.rpartition("/")[2] if name.endswith(".py") else name for name in self.imports]
        if self.teachers is not None:  # which they are, their digests say; what they are called, the losses refer to
            values["teachers"] = {name: _known_by_digest(name, teacher) for name, teacher in self.teachers.items()}
        return values


def _known_by_digest(name: str, teacher: Teacher) -> dict[str, Any]:
    """What of a teacher its digest does not say."""
    return Teacher(model=name, precision=teacher.precision, engine=teacher.engine).model_dump(mode="json")
