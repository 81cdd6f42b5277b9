"""How the output of a module is read as a map: which of its axes are the places of the image, in which order."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

from torch import Tensor

Layout = Literal["NCHW", "NHWC", "tokens"]

MOST_PREFIX_TOKENS = 16
"""Class, distillation and register tokens, which stand before those of the image."""


class Reading(NamedTuple):
    """One way to read an output as a map.

    Attributes:
        layout: (B, C, h, w), (B, h, w, C), or tokens (B, N, C), row by row.
        prefix: leading tokens that stand for no place.
    """

    layout: Layout
    prefix: int = 0


def as_map(output: Tensor, reading: Reading, size: tuple[int, int]) -> Tensor:
    """An output as (B, C, h, w), dequantised where it holds whole numbers.

    Args:
        output: 4-D, or tokens.
        reading: of it.
        size: (H, W) in whose proportions tokens cover the image.
    """
    values = output.dequantize() if output.is_quantized else output
    if reading.layout == "NCHW":
        return values
    if reading.layout == "NHWC":
        return values.permute(0, 3, 1, 2)
    places = values[:, reading.prefix :].transpose(1, 2)
    grid = _grid(places.shape[2], size)
    assert grid is not None
    return places.unflatten(2, grid)


def readings(output: Tensor, size: tuple[int, int]) -> Iterator[Reading]:
    """The ways in which an output's places have the image's proportions and are more than one.

    Args:
        output: of any shape.
        size: (H, W) of the image.
    """
    if output.ndim == 4:
        _, first, second, third = output.shape
        if _covers(second, third, size):
            yield Reading("NCHW")
        if _covers(first, second, size):
            yield Reading("NHWC")
    elif output.ndim == 3 and (grid := grid_of(output.shape[1], size)) is not None and math.prod(grid) > 1:
        yield Reading("tokens", output.shape[1] - math.prod(grid))


def map_layout(output: Tensor, size: tuple[int, int]) -> Layout:
    """Which axes of a 4-D output are the places: those in the proportion of the input's height and width."""

    def distortion(height: int, width: int) -> float:
        return abs(height * size[1] / (width * size[0]) - 1)

    _, first, second, third = output.shape
    return "NHWC" if distortion(first, second) < distortion(second, third) else "NCHW"


def grid_of(count: int, size: tuple[int, int]) -> tuple[int, int] | None:
    """(h, w) of so many tokens in an image's proportions, after as few others as can be; None where there is none."""
    for places in range(count, max(count - MOST_PREFIX_TOKENS, 2) - 1, -1):
        if (grid := _grid(places, size)) is not None:
            return grid
    return None


def _grid(places: int, size: tuple[int, int]) -> tuple[int, int] | None:
    height = max(round(math.sqrt(places * size[0] / size[1])), 1)
    width = places // height
    fits = height * width == places and abs(height * size[1] - width * size[0]) < max(size) // 2
    return (height, width) if fits else None


def _covers(height: int, width: int, size: tuple[int, int]) -> bool:
    """Whether so many rows and columns are an image's at one stride, but for a row or column of padding."""
    if height * width == 1 or height > size[0] or width > size[1]:
        return False
    return abs(height * size[1] - width * size[0]) <= max(size)
