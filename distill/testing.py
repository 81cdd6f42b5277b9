"""The contract of a method, as a check that an outsider runs on their own: `check_method(MyMethod)`."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any, NoReturn, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from distill.methods.base import Method, Requirement
from distill.methods.explaining import Explaining
from distill.methods.passes import Pass
from distill.methods.registry import METHODS, create_method
from xkd_eval.classifiers.classifier import CamHead, Classifier
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.errors import XkdError

_BATCH, _CLASSES, _SIZE = 5, 6, 16
_DATASET_SIZE = 20


def check_method(method: str | type[Method], **options: Any) -> None:
    """Check what a training relies on in a method.

    It has a name, a citation and known requirements. On the passes of two unlike networks its losses are finite scalars
    whose names begin with its own, their sum is not zero, and the student gets a gradient while the teacher gets none.
    What it says twice is the same, also when another one was loaded from its state. Every parameter of its own that
    requires a gradient gets one. Losses of bfloat16 passes are float32. With `capturable` a step holds no operation
    that waits for a GPU, draws at random, or has a shape that depends on values. With `takes_mixed` its losses are
    finite for labels that are shares of classes, and those of whole ones are those of the classes' numbers. Its losses
    are finite for as few images, and as few classes, as it says that it needs. It is told first how many images each
    class has, and of which class each is.

    Args:
        method: what a recipe names, "exp_kd" or "py:package.module:Class", or the class itself.
        options: its keyword arguments.

    Raises:
        AssertionError: something is violated; the message says what.
        XkdError: no such method, or options that it refuses.

    Example:
        >>> from distill.testing import check_method
        >>> check_method("exp_kd", top_k=3)
    """
    kind = METHODS[method] if isinstance(method, str) else method
    _check_description(kind)

    def make() -> Method:
        return create_method(method, **options) if isinstance(method, str) else kind(**options)

    made, fresh = make(), make()
    for one in (made, fresh):
        _tell_classes(one, _CLASSES)
    student, teacher = _Network(8, seed=1), _Network(12, seed=2).requires_grad_(False)
    images = torch.randn(_BATCH, 3, _SIZE, _SIZE, generator=torch.Generator().manual_seed(3))
    if not kind.requires:
        _check_losses(made, made(student.run(images), None, *_labels()))
    for one in (made, fresh):
        one.setup(student.run(images), teacher.run(images), _DATASET_SIZE)
    copied = copy.deepcopy(made)
    losses = _losses(made, student.run(images), teacher.run(images))
    _check_losses(made, losses)
    _check_gradients(made, losses, student, teacher)
    _check_equal(made, _losses(copied, student.run(images), teacher.run(images)), losses, "a copy says something else")
    fresh.load_state_dict(made.state_dict())
    resumed, continued = (_losses(one, student.run(images), teacher.run(images)) for one in (fresh, made))
    _check_equal(made, resumed, continued, "loaded from its state_dict it says something else")
    _check_half(made, student, teacher, images)
    if kind.capturable:
        _check_capturable(made, student, teacher, images)
    if kind.takes_mixed:
        _check_mixed(made, student.run(images), teacher.run(images))
    _check_needs(make, kind.needs_images, _CLASSES)
    _check_needs(make, max(_BATCH, kind.needs_images), kind.needs_classes)


class UncapturableOperations(TorchDispatchMode):
    """While entered, notes which operations a CUDA graph cannot hold.

    Attributes:
        found: their names, such as "aten.randint.low".
    """

    _FORBIDDEN = re.compile(
        r"aten\.(_local_scalar_dense|is_nonzero|item|equal|nonzero|masked_select|_?unique\w*|bincount|repeat_interleave"
        r"\.Tensor|lift_fresh|rand\w*|bernoulli\w*|native_dropout|multinomial|normal\w*|uniform_)"
    )

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        """Note the operation, and run it."""
        masks = [
            place
            for argument in arguments
            if isinstance(argument, (list, tuple))
            for place in argument
            if isinstance(place, Tensor) and place.dtype in (torch.bool, torch.uint8)
        ]
        if self._FORBIDDEN.match(str(function)) or (str(function).startswith("aten.index") and masks):
            self.found.add(str(function))
        return function(*arguments, **(options or {}))


class _Network(nn.Module):
    """Two stages before their ReLU as taps, a smooth last map, its average and a linear head."""

    def __init__(self, channels: int, seed: int, classes: int = _CLASSES) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.first = nn.Conv2d(3, channels // 2, 3, padding=1)
            self.second = nn.Conv2d(channels // 2, channels, 3, stride=4, padding=1)
            # Not a ReLU, whose second derivative is zero: a method may differentiate a gradient.
            self.last = nn.Softplus()
            self.head = nn.Linear(channels, classes)
            self.distilled_head = nn.Linear(channels, classes)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, K)."""
        return self.run(images).logits

    def run(self, images: Tensor) -> Pass:
        """(B, 3, H, W) -> Pass with everything that a method may require; its images are in the graph."""
        images = images if images.requires_grad else images.clone().requires_grad_()
        first = self.first(images)
        second = self.second(F.relu(first))
        features = self.last(second)
        pooled = features.mean((2, 3))
        logits, distilled = self.head(pooled), self.distilled_head(pooled)
        taps = {"first": first, "second": second}
        explaining = Explaining(self._classifier(), images.detach())
        known = {"explaining": explaining, "distilled_logits": distilled}
        return Pass(logits, features, self.head.weight, self.head.bias, taps, images, **known)

    def _classifier(self) -> Classifier:
        head = CamHead("last", "head", "NCHW", relu=False, steps=(), map_size=(4, 4), proof_error=0.0)
        classes = self.head.out_features
        return Classifier(self, Preprocess(size=(_SIZE, _SIZE)), name="network", num_classes=classes, head=head)


def _labels(batch: int = _BATCH, classes: int = _CLASSES) -> tuple[Tensor, Tensor]:
    """Class indices (B,), and places in the training set (B,)."""
    return torch.arange(batch) % classes, torch.arange(batch)


def _tell_classes(
    method: Method, classes: int, dataset_size: int = _DATASET_SIZE, device: torch.device | None = None
) -> None:
    """As a training does before `setup`, of a training set in which the classes take turns."""
    labels = torch.arange(dataset_size, device=device) % classes
    method.see_classes(labels.bincount(minlength=classes))
    method.see_labels(labels)


def _losses(method: Method, student: Pass, teacher: Pass) -> dict[str, Tensor]:
    torch.manual_seed(0)  # for methods that draw, as a training seeds every step
    return method(student, teacher, *_labels())


def _check_description(kind: type[Method]) -> None:
    if not isinstance(kind, type) or not issubclass(kind, Method):
        raise AssertionError(f"{kind!r}: expected a subclass of distill.Method")
    for attribute in ("name", "citation", "requires"):
        if not hasattr(kind, attribute):
            raise AssertionError(f"{kind.__name__}: no `{attribute}`; set it in the class")
    known = get_args(Requirement)
    if unknown := [need for need in kind.requires if need not in known]:
        _fail(kind, f"it requires {unknown[0]!r}; expected some of {', '.join(map(repr, known))}")
    for need in ("needs_images", "needs_classes"):
        if type(getattr(kind, need)) is not int or getattr(kind, need) < 1:
            _fail(kind, f"{need} is {getattr(kind, need)!r}; expected an integer of at least 1")


def _check_losses(method: Method, losses: Any) -> None:
    if not isinstance(losses, dict) or not losses:
        _fail(method, f"it returned {type(losses).__name__} {losses!r}; expected losses by name")
    for name, loss in losses.items():
        if not isinstance(loss, Tensor) or loss.shape != ():
            _fail(method, f"the loss {name!r} is no scalar tensor")
        if not str(name).startswith(method.name):
            _fail(method, f"a loss is called {name!r}; expected a name that begins with {method.name!r}")
        if not bool(loss.isfinite()):
            _fail(method, f"the loss {name!r} is {loss.item()} for random networks")
    if _total(losses).item() == 0:
        _fail(method, "its losses are zero for random networks, so they teach nothing")


def _check_gradients(method: Method, losses: dict[str, Tensor], student: _Network, teacher: _Network) -> None:
    total = _total(losses)
    if not total.requires_grad:
        _fail(method, "its losses carry no gradient")
    student.zero_grad()
    method.zero_grad()
    total.backward()
    gradients = [parameter.grad for parameter in student.parameters() if parameter.grad is not None]
    if not any(bool(gradient.any()) for gradient in gradients):
        _fail(method, "it gives the student no gradient")
    if not all(bool(gradient.isfinite().all()) for gradient in gradients):
        _fail(method, "it gives the student a gradient that is not finite")
    if any(parameter.grad is not None for parameter in teacher.parameters()):
        _fail(method, "it gives the teacher a gradient")
    own = {name: value for name, value in method.named_parameters() if value.requires_grad}
    if untrained := [name for name, value in own.items() if value.grad is None]:
        _fail(method, f"its parameter {untrained[0]!r} gets no gradient; leave it out, or set requires_grad=False")


def _check_half(method: Method, student: _Network, teacher: _Network, images: Tensor) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        losses = _losses(method, student.run(images), teacher.run(images))
    if wrong := [name for name, loss in losses.items() if loss.dtype != torch.float32]:
        _fail(method, f"under autocast the loss {wrong[0]!r} is {losses[wrong[0]].dtype}; expected torch.float32")


def _check_capturable(method: Method, student: _Network, teacher: _Network, images: Tensor) -> None:
    passes = student.run(images), teacher.run(images)
    with UncapturableOperations() as operations:
        _total(method(*passes, *_labels())).backward()
    if operations.found:
        _fail(method, f"a CUDA graph cannot hold {', '.join(sorted(operations.found))}; set capturable = False")


def _check_mixed(method: Method, student: Pass, teacher: Pass) -> None:
    labels, indices = _labels()
    whole = F.one_hot(labels, _CLASSES).float()
    found = []
    for given in (labels, whole, 0.7 * whole + 0.3 * whole.roll(1, 0)):
        torch.manual_seed(0)
        try:
            found.append(copy.deepcopy(method)(student, teacher, given, indices))
        except Exception as error:
            _fail(method, f"labels that are shares of classes fail ({error}); set takes_mixed = False")
    _check_equal(method, found[1], found[0], "whole shares of classes give something else than their numbers")
    _check_losses(method, found[2])


def _check_needs(make: Callable[[], Method], batch: int, classes: int) -> None:
    method, dataset_size = make(), max(_DATASET_SIZE, batch)
    _tell_classes(method, classes, dataset_size)
    student, teacher = _Network(8, seed=1, classes=classes), _Network(12, seed=2, classes=classes).requires_grad_(False)
    images = torch.randn(batch, 3, _SIZE, _SIZE, generator=torch.Generator().manual_seed(4))
    where = f"by a batch of {batch} and {classes} classes"
    try:
        method.setup(student.run(images), teacher.run(images), dataset_size)
        losses = method(student.run(images), teacher.run(images), *_labels(batch, classes))
    except XkdError:  # an option that needs more says so itself
        return
    except Exception as error:
        _fail(method, f"{where} it fails ({error}); set needs_images and needs_classes to what it needs")
    if bad := [name for name, loss in losses.items() if not bool(loss.isfinite())]:
        _fail(method, f"{where} the loss {bad[0]!r} is not finite; set needs_images and needs_classes to what it needs")


def _check_equal(method: Method, found: dict[str, Tensor], expected: dict[str, Tensor], violated: str) -> None:
    if found.keys() != expected.keys():
        _fail(method, f"{violated}: losses {', '.join(found)} instead of {', '.join(expected)}")
    for name, loss in found.items():
        if not torch.allclose(loss, expected[name], rtol=1e-5, atol=1e-6):
            _fail(method, f"{violated}: {name} is {loss.item():.6g} instead of {expected[name].item():.6g}")


def _total(losses: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(losses.values())).sum()


def _fail(method: Method | type[Method], violated: str) -> NoReturn:
    raise AssertionError(f"{method.name}: {violated}")
