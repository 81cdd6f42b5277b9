"""The training objective: the student and its methods as one module, which is what DDP wraps and averages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from distill.data.draws import OwnDraws
from distill.methods import Method, Pass, create_method
from distill.methods.registry import METHODS, check_options
from distill.methods.results import TOTAL, is_reserved, results_of, said_of
from distill.recipe.losses import WeightedMethod
from distill.training.observed import Observed
from distill.training.teachers import averaged
from xkd_eval.classifiers.arguments import described_values
from xkd_eval.errors import XkdError
from xkd_eval.foreign import reading

# Whose layers and methods draw in each step, or in none.
_KNOWN = ("torch", "torchvision", "timm", "distill", "xkd_eval")


def create_methods(losses: Sequence[WeightedMethod]) -> list[Method]:
    """The recipe's methods with their options, still without what depends on the networks' shapes.

    Raises:
        XkdError: unknown method or option.
    """
    return [_created(loss) for loss in losses]


def _created(loss: WeightedMethod) -> Method:
    check_options(loss.method, loss.options, others=WeightedMethod.model_fields)
    with said_of(loss.label, "cannot be made", "check its options"):
        return create_method(loss.method, **loss.options)


class TeacherChoice:
    """From whom each method learns.

    Args:
        losses: the recipe's entries.
        names: of its teachers, in order.
    """

    def __init__(self, losses: Sequence[WeightedMethod], names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._places = [None if loss.teacher is None else self._names.index(loss.teacher) for loss in losses]

    def check(self, losses: Sequence[WeightedMethod], methods: Sequence[Method]) -> None:
        """Refuse a teacher that no method learns from, and averages of more than logits.

        Raises:
            XkdError: names the entry, or the teacher.
        """
        for loss, method, place in zip(losses, methods, self._places, strict=True):
            if place is not None and not method.requires:
                raise XkdError(f"losses: {loss.label} learns from no teacher; leave its `teacher` out")
            if place is None and len(self._names) > 1 and not method.requires <= {"logits", "indices"}:
                raise XkdError(
                    f"losses: {loss.label} compares more than logits, which alone are averaged over teachers; name one "
                    f"({', '.join(self._names)}) by its `teacher`"
                )
        for place, name in enumerate(self._names):
            if not self.methods_of(place, methods):
                called = "nothing reads it, since no loss distils" if len(self._names) == 1 else f"no loss reads {name}"
                raise XkdError(f"teacher: {called}; leave it out")

    def methods_of(self, place: int, methods: Sequence[Method]) -> list[Method]:
        """Those that learn from a teacher, alone or among others."""
        chosen = zip(methods, self._places, strict=True)
        return [method for method, its in chosen if method.requires and its in (None, place)]

    def passes(self, teachers: Sequence[Pass]) -> list[Pass | None]:
        """What each method is given of all teachers' passes."""
        if not teachers:
            return [None] * len(self._places)
        mean = averaged(teachers) if None in self._places else None
        return [mean if place is None else teachers[place] for place in self._places]


class Objective(nn.Module):
    """Student and methods; the teacher stays outside, and so out of the checkpoint and of DDP.

    Args:
        student: trained.
        methods: they may hold trained adapters.
        losses: the recipe's entries of the methods, in the same order, with their weights.
        choice: from whom each of them learns.
        epochs: of the training.

    Attributes:
        student, methods: as given.
        adapters: the methods as modules, by which their parameters are found.
        is_partly_used: whether no loss depends on some of what is trained, set by `prepare`: losses on maps alone leave
            the head out, and several processes have to know of it.
    """

    def __init__(
        self,
        student: Observed,
        methods: Sequence[Method],
        losses: Sequence[WeightedMethod],
        choice: TeacherChoice,
        epochs: int,
    ) -> None:
        super().__init__()
        self.student = student
        self.methods = tuple(methods)
        self.adapters = nn.ModuleList(methods)
        self._losses = tuple(losses)
        self._choice = choice
        self._epochs = epochs
        self._statistics: dict[str, Tensor] = {}
        self._names: list[tuple[str, ...]] = []
        self.is_partly_used = False

    def weights(self, epoch: int) -> list[float]:
        """What the methods' losses are multiplied by in epoch 1, 2, ..."""
        return [loss.weight_in(epoch, self._epochs) for loss in self._losses]

    def forward(
        self,
        images: Tensor,
        teachers: Sequence[Pass],
        labels: Tensor,
        indices: Tensor,
        weights: Sequence[float | Tensor],
    ) -> dict[str, Tensor]:
        """One batch.

        Args:
            images: (B, 3, H, W), normalised for the student.
            teachers: their passes on the same images.
            labels, indices: (B,); labels (B, K) of mixed images.
            weights: of the methods; scalars on the device where they change without the step being launched anew.

        Returns:
            Scalars: "total", the weighted sum to be differentiated; and every loss by its name, unweighted.

        Raises:
            XkdError: a method fails, or returns what a training cannot take.
        """
        student = self.student(images)
        total, values = torch.zeros((), device=images.device), {}
        self._statistics, self._names = {}, []
        entries = zip(self._losses, self.methods, self._choice.passes(teachers), weights, strict=True)
        for entry, method, teacher, weight in entries:
            losses, statistics = results_of(method, student, teacher, labels, indices)
            total = total + weight * torch.stack(list(losses.values())).sum()
            called = _called(entry, losses)
            values.update(called)
            self._names.append(tuple(called))
            self._statistics.update(_called(entry, statistics))
        return {TOTAL: total, **values}

    def totals(self, losses: Mapping[str, Tensor], weights: Sequence[float | Tensor]) -> tuple[Tensor, Tensor]:
        """The weighted sums of the losses that learn from no teacher, and of the others.

        Args:
            losses: that `forward` returned last.
            weights: of the methods.
        """
        sums = {False: torch.zeros_like(losses[TOTAL]), True: torch.zeros_like(losses[TOTAL])}
        for method, names, weight in zip(self.methods, self._names, weights, strict=True):
            sums[bool(method.requires)] += weight * torch.stack([losses[name] for name in names]).sum()
        return sums[False], sums[True]

    def statistics(self) -> dict[str, Tensor]:
        """What the methods observed in the latest batch, scalars by name."""
        return self._statistics

    def prepare(
        self,
        drawn: OwnDraws,
        images: Tensor,
        teachers: Sequence[Pass],
        labels: Tensor,
        indices: Tensor,
        dataset_size: int,
    ) -> bool:
        """Build the adapters on one batch, and check every method's loss on it.

        The student comes out as it went in, batch norm's statistics included.

        Args:
            drawn: entered; counts what is drawn.
            images, teachers, labels, indices: as for `forward`.
            dataset_size: training images.

        Returns:
            Whether a step draws at random.

        Raises:
            XkdError: the batch is too small for the student or a method; the student gives no logits; a loss fails, is
                not finite, is zero for a random student, or gives it no gradient.
        """
        at_first = drawn.count
        before = {name: value.clone() for name, value in self.student.classifier.model.state_dict().items()}
        self.student.train()
        with reading(f"batch_size: the student fails on {len(images)} images at once", "raise it, or lower accumulate"):
            student = self.student(images)
        self._check_logits(student.logits, images)
        by_student = drawn.count - at_first
        passes = self._choice.passes(teachers)
        for entry, method, teacher in zip(self._losses, self.methods, passes, strict=True):
            if teacher is not None:
                with said_of(entry.label, "does not fit the two networks", "check its options"):
                    method.setup(student, teacher, dataset_size)
        trained = [parameter for parameter in self.student.parameters() if parameter.requires_grad]
        set_up = drawn.count
        owners: dict[str, str] = {}
        total = torch.zeros((), device=images.device)
        for entry, method, teacher in zip(self._losses, self.methods, passes, strict=True):
            losses, statistics = results_of(method, student, teacher, labels, indices)
            label = entry.name or method.name
            _check_distinct(owners, label, [*_called(entry, losses), *_called(entry, statistics)])
            loss = torch.stack(list(losses.values())).sum()
            _check_value(label, loss)
            _check_gradients(label, _gradients(loss, trained))
            total = total + entry.weight * loss
        adapters = [parameter for parameter in self.adapters.parameters() if parameter.requires_grad]
        gradients = _gradients(total, [*trained, *adapters])
        _check_gradients("the weighted sum", gradients[: len(trained)])  # losses may cancel each other out
        self.is_partly_used = any(gradient is None for gradient in gradients)
        self.student.classifier.model.load_state_dict(before)
        return by_student > 0 or drawn.count > set_up

    def _check_logits(self, logits: object, images: Tensor) -> None:
        """In training mode a network may return more than its logits, as Inception does."""
        classifier = self.student.classifier
        shape = (len(images), classifier.num_classes)
        if not isinstance(logits, Tensor) or logits.shape != shape or not logits.is_floating_point():
            raise XkdError(
                f"student: {classifier.name} gives {described_values(logits)} in training mode; expected logits {shape}"
            )


def is_foreign(modules: Iterable[nn.Module]) -> bool:
    """Whether any layer or method of some modules is of a package that may draw in some of its steps only."""
    parts = (part for module in modules for part in module.modules())
    return any(type(part).__module__.partition(".")[0] not in _KNOWN for part in parts)


def _called(entry: WeightedMethod, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A method's results by the name of its entry, in place of the method's own, with which they begin."""
    if entry.name is None:
        return dict(values)
    own = METHODS[entry.method].name
    return {entry.name + name.removeprefix(own): value for name, value in values.items()}


def _check_distinct(owners: dict[str, str], method: str, names: Sequence[str]) -> None:
    """Refuse a name that an earlier method's result has; `owners`, name to method, grows."""
    for name in names:
        if is_reserved(name):
            raise XkdError(f"losses: a result would be called {name!r}, as the training calls its own; choose a `name`")
        if name in owners:
            raise XkdError(f"losses: {owners[name]} and {method} both call a result {name!r}; give one a `name`")
        owners[name] = method


def _check_value(name: str, loss: Tensor) -> None:
    value = loss.item()
    if not loss.isfinite():
        raise XkdError(f"losses: {name} is {value} on the first batch; expected a finite number: check its options")
    if value == 0:
        raise XkdError(f"losses: {name} is zero for a student with random weights, so it teaches nothing")


def _gradients(loss: Tensor, parameters: list[nn.Parameter]) -> Sequence[Tensor | None]:
    if not loss.requires_grad:
        return [None] * len(parameters)
    return torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)


def _check_gradients(name: str, gradients: Sequence[Tensor | None]) -> None:
    if not any(gradient is not None and bool(gradient.any()) for gradient in gradients):
        raise XkdError(f"losses: {name} gives the student no gradient on the first batch, so it teaches nothing")
    if not all(gradient is None or bool(gradient.isfinite().all()) for gradient in gradients):
        raise XkdError(f"losses: {name} has a gradient on the first batch that is not finite: check its options")
