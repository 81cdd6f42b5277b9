"""The process in which `mat73` has HDF5 files read: questions on standard input, answers on standard output."""

from __future__ import annotations

import json
import math
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np

from xkd_eval.foreign import reason

# What a decompression bomb claims to hold is not allocated.
_LARGEST = 2**30
_COLUMNS = ("value/img", "value/gt")

Answer = tuple[Any, list[np.ndarray]]


def main(questions: IO[bytes], answers: IO[bytes]) -> None:
    """Answer until the questions end; the file that was read last stays open."""
    opened: tuple[Any, h5py.File] | None = None
    for line in questions:
        what, path, position = json.loads(line)
        try:
            if opened is None or opened[0] != _state(path):
                opened = _state(path), h5py.File(path, "r", locking="best-effort")
            value, arrays = QUESTIONS[what](opened[1], position)
            answer: dict[str, Any] = {"value": value, "arrays": [(array.dtype.str, array.shape) for array in arrays]}
        except Exception as error:  # whatever HDF5 raises on damage
            answer, arrays = {"error": reason(error)}, []
        answers.write(json.dumps(answer).encode() + b"\n")
        for array in arrays:
            answers.write(array.tobytes())
        answers.flush()


def _state(path: str) -> Any:
    """Tells a file from another one that took its place."""
    found = Path(path).stat()
    return path, found.st_ino, found.st_size, found.st_mtime_ns


def _layout(file: h5py.File, _: int) -> Answer:
    columns = [file.get(name) for name in _COLUMNS]
    shapes = [column if column is None else column.shape for column in columns]
    references = all(column is not None and h5py.check_ref_dtype(column.dtype) is h5py.Reference for column in columns)
    return (sorted(file), *shapes, references), []


def _size(file: h5py.File, position: int) -> Answer:
    return sum(_bytes_of(part) for part in _stored(file, position)), []


def _arrays(file: h5py.File, position: int) -> Answer:
    return None, [np.asarray(part[()]) for part in _stored(file, position)]


def _stored(file: h5py.File, position: int) -> tuple[h5py.Dataset, h5py.Dataset]:
    """Image and mask, the mask being what the first reference of its cell names."""
    image, cell = (file[file[name][position, 0]] for name in _COLUMNS)
    mask = file[cell[(0,) * cell.ndim]]
    if image.dtype != np.uint8 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[0] == 3)):
        raise TypeError(f"an image of {image.dtype} {image.shape}, not uint8 (3, W, H)")
    if mask.dtype.kind not in "biuf":
        raise TypeError(f"a mask of {mask.dtype}, not of numbers")
    if _bytes_of(image) > _LARGEST or _bytes_of(mask) > _LARGEST:
        raise ValueError(f"{image.shape} and {mask.shape} are beyond 1 GiB")
    return image, mask


def _bytes_of(part: h5py.Dataset) -> int:
    return math.prod(part.shape) * part.dtype.itemsize


QUESTIONS: dict[str, Callable[[h5py.File, int], Answer]] = {"layout": _layout, "size": _size, "arrays": _arrays}

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks, whose end is the questions' end
    main(sys.stdin.buffer, sys.stdout.buffer)
