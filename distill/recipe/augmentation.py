"""What is done to training images beside crop and flip, as data."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from distill.recipe.fields import Strict
from xkd_eval.foreign import short

LARGEST_MAGNITUDE = 10
"""Of RandAugment, where its operations are strongest."""
_WORDS = "m (magnitude, 0 to 10), n (operations, 1 to 10), p (share of them that is done), mstd (0 to 10) and inc1"
# Beta(a, a) of a smaller one is 0 or 1, of a larger one a half.
_LEAST_ALPHA, _LARGEST_ALPHA = 0.01, 100


@dataclass(frozen=True)
class RandAugmentWords:
    """What a text such as "rand-m9-n2-mstd0.5" says, in timm's words and with its defaults.

    Attributes:
        magnitude: m, the mean magnitude, of 0 to 10.
        operations: n, drawn an image.
        probability: p, with which each of them is done.
        deviation: mstd, the standard deviation of the magnitude.
    """

    magnitude: float = 10.0
    operations: int = 2
    probability: float = 0.5
    deviation: float = 0.0


def parse_randaugment(text: str) -> RandAugmentWords:
    """Read "rand-m9-n2-p0.5-mstd0.5-inc1": the words in any order, each once, each with a default.

    Raises:
        ValueError: another word, a word twice, a value out of range; the message names it.
    """
    first, *words = text.split("-")
    if first != "rand":
        raise ValueError(f"{short(text)} found; expected rand, then words with '-' between them, as in rand-m9-mstd0.5")
    values: dict[str, float] = {}
    for word in words:
        match = re.fullmatch(r"(mstd|inc|m|n|p)(\d{1,3}(?:\.\d{1,6})?)", word, re.ASCII)
        if match is None:
            raise ValueError(f"{short(word)} in {short(text)}: expected {_WORDS}")
        name, value = match[1], float(match[2])
        if name in values:
            raise ValueError(f"{name} stands twice in {short(text)}; expected it once")
        _check_word(name, value, word)
        values[name] = value
    return RandAugmentWords(
        values.get("m", 10.0), int(values.get("n", 2)), values.get("p", 0.5), values.get("mstd", 0.0)
    )


def _check_word(name: str, value: float, word: str) -> None:
    if name == "inc" and value != 1:
        raise ValueError(f"{short(word)}: every operation grows with the magnitude here; leave it out, or give inc1")
    if name == "n" and not (value.is_integer() and 1 <= value <= 10):
        raise ValueError(f"{short(word)}: expected a whole number of operations from 1 to 10")
    if name == "p" and not 0 < value <= 1:
        raise ValueError(f"{short(word)}: expected a share above 0, at most 1")
    if name in ("m", "mstd") and value > LARGEST_MAGNITUDE:
        raise ValueError(f"{short(word)}: expected at most {LARGEST_MAGNITUDE}")


def _checked_words(text: str) -> str:
    parse_randaugment(text)
    return text


def _four(value: Any) -> Any:
    """One strength stands for brightness, contrast and saturation."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (value, value, value, 0.0)
    if isinstance(value, list | tuple) and len(value) == 4:
        return value
    raise ValueError(f"{short(value)} found; expected a number, or [brightness, contrast, saturation, hue]")


_Alpha = Annotated[float, Field(ge=_LEAST_ALPHA, le=_LARGEST_ALPHA)]
_Strength = Annotated[float, Field(ge=0, le=1)]
_Jitter = Annotated[
    tuple[_Strength, _Strength, _Strength, Annotated[float, Field(ge=0, le=0.5)]],
    Field(strict=False),
    BeforeValidator(_four),
]


class Augmentation(Strict):
    """What both loaders do to training images beside crop and flip; None leaves it out.

    Attributes:
        mixup: alpha of Beta(alpha, alpha), of which the share of an image in a blend of two is drawn, once a batch
            (Zhang et al., ICLR 2018). Labels become shares of classes, and every network sees the blend.
        cutmix: the same of the area that a box leaves of an image, the box being cut out of another one (Yun et al.,
            ICCV 2019). With both, one of the two is drawn a batch, each half of the times.
        randaugment: "rand-m9-mstd0.5", see RandAugmentWords (Cubuk et al., CVPR workshops 2020).
        erasing: probability that a box of an image is filled with the network's mean colour (Zhong et al., AAAI 2020).
        colour_jitter: how far brightness, contrast, saturation (at most 1) and hue (at most 0.5) may change; one number
            for the first three. RandAugment changes colours itself.
    """

    mixup: _Alpha | None = None
    cutmix: _Alpha | None = None
    randaugment: Annotated[str, AfterValidator(_checked_words)] | None = None
    erasing: Annotated[float, Field(gt=0, le=1)] | None = None
    colour_jitter: _Jitter | None = None

    @model_validator(mode="after")
    def _colours_once(self) -> Augmentation:
        if self.colour_jitter is not None and not any(self.colour_jitter):
            raise ValueError("colour_jitter: 0 found, which changes nothing; leave it out")
        if self.colour_jitter is not None and self.randaugment is not None:
            raise ValueError(
                "colour_jitter: found beside randaugment, which changes colours itself; give one of the two"
            )
        return self

    @property
    def mixing(self) -> tuple[str, ...]:
        """The keys that are given of those by which a batch's images are mixed."""
        return tuple(key for key in ("mixup", "cutmix") if getattr(self, key) is not None)

    @property
    def image_by_image(self) -> tuple[str, ...]:
        """The keys that are given of those by which each image is changed on its own."""
        return tuple(key for key in ("randaugment", "erasing", "colour_jitter") if getattr(self, key) is not None)
