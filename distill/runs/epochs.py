"""What an epoch came to, as state and result hold it: numbers within the ranges that they can have."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

_NEEDED = ("epoch", "learning_rate", "total", "seconds")
_FRACTIONS = ("top1", "top5", "calibration_error", "agreement")
TRAINED = "_trained"
"""Ends the names of scores of the weights that are trained, beside those of their moving average."""

_SPLITS = ("val", "test")


def _possible(epoch: dict[str, float]) -> dict[str, float]:
    if missing := [name for name in _NEEDED if name not in epoch]:
        raise ValueError(f"{missing[0]} is missing")
    if not any(f"{split}_top1" in epoch and f"{split}_loss" in epoch for split in _SPLITS):
        raise ValueError("top1 and loss of the held-out images are missing")
    for name, value in epoch.items():
        low, high = _range(name)
        if not low <= value <= high:
            raise ValueError(f"{name}: {value:.6g} found; expected {low:g} to {high:g}")
    if epoch["epoch"] != int(epoch["epoch"]):
        raise ValueError(f"epoch: {epoch['epoch']:.6g} found; expected a whole number")
    return epoch


def _range(name: str) -> tuple[float, float]:
    split, _, score = name.partition("_")
    if split in _SPLITS:
        return (0.0, 1.0 if score.removesuffix(TRAINED) in _FRACTIONS else float("inf"))
    if name in ("epoch", "learning_rate", "seconds"):
        return (1.0 if name == "epoch" else 0.0, float("inf"))
    return (float("-inf"), float("inf"))  # a loss of one's own


EpochMetrics = Annotated[dict[str, float], AfterValidator(_possible)]
