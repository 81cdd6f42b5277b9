"""JPEGs decoded at a half, a quarter or an eighth of their size, within a block of whoever needs no more of them.

A JPEG holds squares of 8 x 8 pixels as frequencies. Of the lower of these a smaller image is made at a fraction of the
cost, about that which averaging the pixels would give.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from PIL import Image

REDUCTIONS = (8, 4, 2)
"""What a JPEG's width and height can be divided by, rounded up."""

Choose = Callable[[tuple[int, int]], int]
"""(width, height) of an upright image -> one of REDUCTIONS, or 1: as it is."""

_chosen: ContextVar[Choose | None] = ContextVar("reduction", default=None)


@contextmanager
def reduced_jpegs(choose: Choose) -> Iterator[None]:
    """Within it each JPEG that this thread decodes as a photograph is asked how far it may be reduced.

    Args:
        choose: is not called for images of other formats, which stay as they are.
    """
    token = _chosen.set(choose)
    try:
        yield
    finally:
        _chosen.reset(token)


def reduced_size(size: tuple[int, int], by: int) -> tuple[int, int]:
    """(width, height) of an image -> that of the reduced one."""
    return -(-size[0] // by), -(-size[1] // by)


def reduce(image: Image.Image, is_turned: Callable[[], bool]) -> None:
    """Have an image that is not yet decoded be so at a reduced size, if this is asked for.

    Args:
        image: as PIL has opened it.
        is_turned: whether its width is the height of the upright one.
    """
    choose = _chosen.get()
    if choose is None or image.format != "JPEG":
        return
    width, height = image.size
    by = choose((height, width) if is_turned() else (width, height))
    if by > 1:
        # PIL takes the largest reduction that leaves so much.
        image.draft(image.mode, (width // by, height // by))
