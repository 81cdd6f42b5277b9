"""The photographs and maps of a gallery: within the page, or as small files in a folder beside it."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import numpy as np
from PIL import Image

from xkd_eval.escapes import file_names
from xkd_eval.figures.heatmap import DEFAULT_COLORMAP, Heatmap, Region, heatmap
from xkd_eval.files import replacing, writing

PHOTOGRAPHS = "report_photographs"
"""The folder beside a page that has its photographs, where they are too many for one file."""

PHOTO = "photo"
"""What a photograph is among an image's pictures; its maps are `map_of` numbers."""

Place = Callable[[str, str, np.ndarray], str]
"""(the image's id, which picture of it, (H, W, 3) uint8) -> the address by which the page shows it."""

_JPEG_QUALITY = 82
# A map is smooth: it is stored small and scaled up by the browser.
_MAP_SIDE = 96
_FOLDERS = re.compile(rf"{PHOTO}|map\d+")


def map_of(number: int) -> str:
    """What the map of the model of that number is among an image's pictures."""
    return f"map{number}"


def coloured_map(saliency: np.ndarray, colormap: str = DEFAULT_COLORMAP) -> Heatmap:
    """A map (h, w) in colours, small and square; the page gives it its shape."""
    return heatmap(np.zeros((_MAP_SIDE, _MAP_SIDE, 3), dtype=np.uint8), saliency, colormap)


def box_of(region: Region | None, shape: tuple[int, ...]) -> tuple[float, float, float, float]:
    """Left, top, width and height of a region in percent of a photograph of shape (H, W, ...); None is all of it."""
    height, width = shape[:2]
    left, top, right, bottom = (0, 0, width, height) if region is None else region
    return 100 * left / width, 100 * top / height, 100 * (right - left) / width, 100 * (bottom - top) / height


def within_page(identifier: str, which: str, pixels: np.ndarray) -> str:
    """A Place: the picture itself, as a data URI."""
    return f"data:image/jpeg;base64,{base64.b64encode(_jpeg(pixels)).decode()}"


class Beside:
    """A Place: files in a folder beside the page, which the page names relatively, so that both can be moved.

    Args:
        directory: where the page is.
        ids: of the images.
        folder: its name.
    """

    def __init__(self, directory: Path, ids: Iterable[str], folder: str = PHOTOGRAPHS) -> None:
        self._directory = directory
        self._folder = folder
        self._names = file_names(ids)
        self._kept: set[Path] = set()

    def __call__(self, identifier: str, which: str, pixels: np.ndarray) -> str:
        """Write a picture.

        Raises:
            XkdError: it cannot be written.
        """
        path = self._directory / self._folder / which / f"{self._names[identifier]}.jpg"
        with writing(f"output: {str(path)!r}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as file:
                file.write(_jpeg(pixels))
        self._kept.add(path)
        return quote(path.relative_to(self._directory).as_posix())

    def tidy(self) -> None:
        """Remove what an earlier page had and the present one has not."""
        remove_photographs(self._directory, self._folder, self._kept)


def remove_photographs(directory: Path, name: str = PHOTOGRAPHS, kept: Iterable[Path] = ()) -> None:
    """Remove the pictures that a page left beside it, and the folder where nothing else is in it.

    Args:
        directory: where the page is.
        name: of the folder.
        kept: files that stay.

    Raises:
        XkdError: they cannot be removed.
    """
    folder, stays = directory / name, set(kept)
    if not folder.is_dir():
        return
    with writing(f"output: {str(folder)!r}"):
        for part in [part for part in folder.iterdir() if part.is_dir() and _FOLDERS.fullmatch(part.name)]:
            for path in part.glob("*.jpg"):
                if path not in stays:
                    path.unlink()
            _remove_if_empty(part)
    _remove_if_empty(folder)


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def _jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return buffer.getvalue()
