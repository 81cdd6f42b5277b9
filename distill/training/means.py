"""Means of the losses over an epoch, and the first step at which one of them was not finite, kept on the device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from distill.methods.results import TOTAL
from xkd_eval.errors import XkdError
from xkd_eval.foreign import short

_NEVER = torch.iinfo(torch.int64).max


class EpochMeans:
    """Sums of scalars by name over the steps of an epoch. Adding to them waits for no device.

    Args:
        state: what `state` was when a run stopped within an epoch.
    """

    def __init__(self, state: Mapping[str, Any] | None = None) -> None:
        self._names: list[str] = list(state["names"]) if state else []
        self._steps: int = state["steps"] if state else 0
        self._sums: Tensor | None = state["sums"] if state else None
        self._first_bad: Tensor | None = None

    def add(self, values: Mapping[str, Tensor], step: int) -> None:
        """The values of one step, scalars; always the same names.

        Raises:
            XkdError: other names than in the steps before.
        """
        if self._names and list(values) != self._names:
            found, expected = short(list(values)), short(self._names)
            raise XkdError(f"losses: {found} in step {step + 1}, and {expected} before; expected the same in all steps")
        latest = torch.stack([value.detach().float() for value in values.values()])
        if self._sums is None or self._first_bad is None:
            self._names = list(values)
            self._sums = latest.new_zeros(len(latest)) if self._sums is None else self._sums.to(latest.device)
            self._first_bad = torch.full_like(latest, _NEVER, dtype=torch.int64)
        self._sums = self._sums + latest
        self._first_bad = torch.where(latest.isfinite(), self._first_bad, self._first_bad.clamp(max=step))
        self._steps += 1

    def first_not_finite(self) -> tuple[int, str] | None:
        """The first step with a value that is not finite, and its name, a loss's rather than the total's; None where
        all are finite. Waits for the device."""
        if self._first_bad is None:
            return None
        steps = self._first_bad.tolist()
        if min(steps) == _NEVER:
            return None
        bad = [name for name, step in zip(self._names, steps, strict=True) if step == min(steps)]
        return min(steps), next((name for name in bad if name != TOTAL), TOTAL)

    def means(self) -> Tensor:
        """(n,) means in the order in which the losses were added."""
        assert self._sums is not None
        return self._sums / self._steps

    def named(self, means: Tensor) -> dict[str, float]:
        """Means (n,) of `means`, also averaged over processes, by name."""
        return dict(zip(self._names, means.tolist(), strict=True))

    def state(self) -> dict[str, Any]:
        """What `EpochMeans(state)` continues from: names, the number of steps, and the sums (n,)."""
        return {"names": self._names, "steps": self._steps, "sums": self._sums}
