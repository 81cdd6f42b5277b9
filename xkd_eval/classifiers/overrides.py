"""The user's corrections to a model's Preprocess."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.errors import XkdError
from xkd_eval.foreign import short
from xkd_eval.registry import nearest

FIELDS = (*(field.name for field in fields(Preprocess)), "channels")


def with_overrides(preprocess: Preprocess, overrides: Mapping[str, Any]) -> Preprocess:
    """A Preprocess with some fields replaced.

    Args:
        preprocess: the model's own.
        overrides: field to value; None keeps the model's. `size` may be one number, `mean` and `std` one for all
            channels; `channels` is how many there are, where that is another number than the model's mean has.

    Raises:
        XkdError: unknown field (the nearest is named), or a value that it cannot have; names the field.
    """
    for name in overrides:
        if name not in FIELDS:
            raise XkdError(f"{name}: unknown; {nearest(str(name), FIELDS)}")
    given = {name: value for name, value in overrides.items() if value is not None}
    channels = given.pop("channels", None)
    return replace(preprocess if channels is None else with_channels(preprocess, channels), **given)


def with_channels(preprocess: Preprocess, channels: int) -> Preprocess:
    """A Preprocess of another number of channels, each of which has the average of mean and deviation.

    Raises:
        XkdError: no such number.
    """
    if isinstance(channels, bool) or not isinstance(channels, int) or channels < 1:
        raise XkdError(f"channels: {short(channels)} found; expected a whole number from 1")
    if channels == preprocess.channels:
        return preprocess
    mean, std = (sum(values) / len(values) for values in (preprocess.mean, preprocess.std))
    return replace(preprocess, mean=(mean,) * channels, std=(std,) * channels, channel_order="RGB")
