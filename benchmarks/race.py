"""Contestants that run one after the other in every round, in another order each time, so that drift favours none."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch


def race(contestants: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Name -> the seconds that the contestant returned in each round."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    names = list(contestants)
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            times[name].append(contestants[name]())
    return times


def seconds_of(run: Callable[[], object], device: torch.device) -> float:
    """How long it takes, an accelerator's work to its end."""
    start = time.perf_counter()
    run()
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter() - start


def ratio(theirs: list[float], ours: list[float]) -> float:
    """The median over the rounds of the ratio within a round."""
    return statistics.median(a / b for a, b in zip(theirs, ours, strict=True))
