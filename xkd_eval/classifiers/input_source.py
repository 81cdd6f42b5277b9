"""Where a classifier's input convention comes from, and how it is said in one line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.wording import counted

# What a network that was trained with another of these answers wrongly to, without failing.
_DECISIVE = ("size", "mean", "std")


@dataclass(frozen=True)
class InputSource:
    """Who says what a network's input is.

    Attributes:
        name: the source of what nobody else says: "checkpoint", "timm's config of resnet18", "CIFAR-10's", "default".
        is_assumed: whether that may be another convention than the weights were trained with: a library's for weights
            that are not its own, or a default.
        only_at: the one input size that the source speaks of; None where it speaks of any.
        others: (field of Preprocess, who says it instead): "option", "protocol chefer".

    Example:
        >>> from xkd_eval.classifiers.input_source import InputSource
        >>> str(InputSource("checkpoint"))
        'checkpoint'
        >>> str(InputSource("checkpoint").but("option", ["size", "mean"]))
        'size, mean: option; the rest: checkpoint'
    """

    name: str = "default"
    is_assumed: bool = False
    only_at: tuple[int, int] | None = None
    others: tuple[tuple[str, str], ...] = ()

    def but(self, who: str, fields: Iterable[str]) -> InputSource:
        """The same where somebody else says some fields."""
        return replace(self, others=tuple({**dict(self.others), **dict.fromkeys(fields, who)}.items()))

    @property
    def assumed(self) -> tuple[str, ...]:
        """Those of size, mean and std that nobody says of these weights."""
        said = dict(self.others)
        return tuple(field for field in _DECISIVE if field not in said) if self.is_assumed else ()

    def __str__(self) -> str:
        said: dict[str, list[str]] = {}
        for field, who in self.others:
            said.setdefault(who, []).append(field)
        if len(said) == 1 and set(Preprocess().to_dict()) <= set(dict(self.others)):
            return next(iter(said))
        return "; ".join([*_by_whom(said), f"the rest: {self.name}"]) if said else self.name


CALLER = InputSource("its maker")
"""Of a Classifier that somebody made with a Preprocess of his own."""


def input_line(preprocess: Preprocess, source: InputSource | str) -> str:
    """What a network is fed with, and who says so: "64x64 RGB, squash, bilinear, mean 0.5 0.5 0.5, ... (default)"."""
    height, width = preprocess.size
    order = preprocess.channel_order if preprocess.channels == 3 else counted(preprocess.channels, "channel")
    white = f", white = {preprocess.value_range:g}" if preprocess.value_range != 1 else ""
    kept = f" of {preprocess.crop_fraction:.4g}" if preprocess.resize != "squash" else ""
    mean, std = (" ".join(f"{value:.4g}" for value in values) for values in (preprocess.mean, preprocess.std))
    return (
        f"{height}x{width} {order}{white}, {preprocess.resize}{kept}, {preprocess.interpolation}, "
        f"mean {mean}, std {std} ({source})"
    )


def _by_whom(said: dict[str, list[str]]) -> list[str]:
    return [f"{', '.join(fields)}: {who}" for who, fields in said.items()]
