"""Where what a method returns enters a training: its losses and statistics, checked by name and kind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from distill.methods.base import Method
from distill.methods.passes import Pass
from xkd_eval.classifiers.arguments import described_values
from xkd_eval.errors import XkdError
from xkd_eval.foreign import reading, short

TOTAL = "total"
SKIPPED = "skipped"
"""Of steps in fp16: 1 where the gradient overflowed, else 0."""

# What a training calls its own numbers; others begin with `val_` or `test_`.
_RESERVED = (TOTAL, SKIPPED, "epoch", "learning_rate", "seconds")


@contextmanager
def said_of(loss: str, failure: str, remedy: str) -> Iterator[None]:
    """Let whatever is raised within say of which of a recipe's losses it is: "losses: LOSS: what it was".

    Args:
        loss: what it is called.
        failure: what is said of it where the error is no sentence, as of a library's.
        remedy: what to do then.

    Raises:
        XkdError: for every error within.
    """
    try:
        with reading(f"losses: {loss} {failure}", remedy):
            yield
    except XkdError as error:
        said = str(error)
        if said.startswith("losses: "):
            raise
        raise XkdError(f"losses: {said if said.startswith(f'{loss}: ') else f'{loss}: {said}'}") from error


def results_of(
    method: Method, student: Pass, teacher: Pass | None, labels: Tensor, indices: Tensor
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What a method makes of a batch.

    Args:
        method: set up.
        student, teacher: of the batch; what the method has no business writing to.
        labels, indices: (B,); labels (B, K) of mixed images.

    Returns:
        Losses and statistics by name, scalars on the student's device.

    Raises:
        XkdError: it fails, returns something else, calls it by names that are not its own, or writes to what it is
            given; the message names the method.
    """
    where = f"losses: {method.name}"
    before = list(_versions(student, teacher, labels, indices))
    with said_of(method.name, "fails", "check its options, or mend it"):
        losses = method(student, teacher, labels, indices)
    for (part, version), (_, former) in zip(_versions(student, teacher, labels, indices), before, strict=True):
        if version != former:
            raise XkdError(f"{where} writes to {part}, which others read too; let it write to a clone")
    device = student.logits.device
    _check(where, method.name, losses, device)
    if not losses:
        raise XkdError(f"{where} returned {{}}; expected at least one loss")
    _check(where, method.name, method.statistics, device)
    if twice := [name for name in method.statistics if name in losses]:
        raise XkdError(f"{where} has a loss and a statistic {twice[0]!r}; give them different names")
    return losses, method.statistics


def is_reserved(name: str) -> bool:
    """Whether the training calls a number of its own so."""
    return name in _RESERVED or name.startswith(("val_", "test_"))


def _check(where: str, method: str, values: object, device: torch.device) -> None:
    if not isinstance(values, dict):
        raise XkdError(f"{where} returned {short(values)}; expected scalar tensors by name")
    for name, value in values.items():
        if not isinstance(name, str) or not name.startswith(method):
            raise XkdError(f"{where} calls a result {short(name)}; expected a name that begins with {method!r}")
        if is_reserved(name):
            raise XkdError(f"{where} calls a result {name!r}, as the training does one of its own; rename the method")
        if not isinstance(value, Tensor) or value.shape != () or not value.is_floating_point():
            raise XkdError(f"{where}: {name} is {described_values(value)}; expected a scalar tensor of floats")
        if value.device != device:
            raise XkdError(f"{where}: {name} is on {value.device}; expected it on {device}, as the logits are")


def _versions(student: Pass, teacher: Pass | None, labels: Tensor, indices: Tensor) -> Iterator[tuple[str, int]]:
    """How often each tensor that a method is given was written to."""
    yield "the labels", labels._version
    yield "the indices", indices._version
    for whose, network in (("student", student), ("teacher", teacher)):
        for part, value in () if network is None else _parts(network):
            yield f"the {whose}'s {part}", value._version


def _parts(network: Pass) -> Iterator[tuple[str, Tensor]]:
    optional = ("features", "head_weight", "head_bias", "images", "source", "pooled", "distilled_logits")
    yield "logits", network.logits
    yield from ((name, value) for name in optional if (value := getattr(network, name)) is not None)
    yield from network.taps.items()
