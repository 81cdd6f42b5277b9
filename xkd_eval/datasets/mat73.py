"""MATLAB v7.3 files (HDF5) of images and masks, read in a process of their own.

The HDF5 library crashes on some damaged files, which no error handling survives. Here it takes its own process with it,
and the file, or the one image, is an error like others.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from xkd_eval.datasets.handles import PerProcess


class Mat73Error(Exception):
    """What HDF5 says of a damaged file, or that it crashed; to be called for within `foreign.reading`."""


class Layout(NamedTuple):
    """What a file holds; a shape is None where there is no such data set.

    Attributes:
        names: at the top.
        images: shape of /value/img.
        masks: shape of /value/gt.
        references: whether both are of object references.
    """

    names: list[str]
    images: list[int] | None
    masks: list[int] | None
    references: bool


def read_layout(path: Path) -> Layout:
    """What a file holds.

    Raises:
        Mat73Error: no HDF5, truncated, damaged.
    """
    return Layout(*_PROCESS.get().ask("layout", path)[0])


def read_size(path: Path, position: int) -> int:
    """Bytes of one image and its mask, unpacked; no pixel is read.

    Raises:
        Mat73Error: damaged there, other types of arrays, or beyond 1 GiB.
    """
    return int(_PROCESS.get().ask("size", path, position)[0])


def read_arrays(path: Path, position: int) -> tuple[np.ndarray, np.ndarray]:
    """Image (3, W, H) or (W, H), uint8, and mask, of numbers in any shape, as they are stored.

    Raises:
        Mat73Error: damaged there, other types of arrays, or beyond 1 GiB.
    """
    image, mask = _PROCESS.get().ask("arrays", path, position)[1]
    return image, mask


class _Process:
    """The reading process: started by the first question, and anew after a crash. Threads take turns."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        atexit.register(self._end, os.getpid())

    def _end(self, owner: int) -> None:
        # A process that was forked since has this one's copy, and no business with its child.
        if self._child is not None and os.getpid() == owner:
            self._child.communicate()

    def ask(self, what: str, path: Path, position: int = 0) -> tuple[Any, list[np.ndarray]]:
        """The answer's value and arrays; raises Mat73Error."""
        question = json.dumps([what, str(path.absolute()), position]).encode()
        with self._lock:
            for _ in range(2):  # what ended the process may have had nothing to do with this file
                # Kept only when it has answered whole: what is left of an interrupted answer is not the next one.
                child, self._child = self._child or _start(), None
                try:
                    answer, arrays = _answered(child, question)
                except (EOFError, BrokenPipeError):
                    end = _end_of(child)
                else:
                    self._child = child
                    break
            else:
                raise Mat73Error(end)
        if "error" in answer:
            raise Mat73Error(answer["error"])
        return answer["value"], arrays


_PROCESS: PerProcess[_Process] = PerProcess(_Process)


def _start() -> subprocess.Popen[bytes]:
    # What this process can import, that one can; it computes nothing, so it needs no threads.
    found = os.pathsep.join(place or str(Path.cwd()) for place in sys.path)
    environment = {**os.environ, "PYTHONPATH": found, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-P", "-m", "xkd_eval.datasets.mat73_process"]
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=nothing, env=environment)


def _answered(child: subprocess.Popen[bytes], question: bytes) -> tuple[dict[str, Any], list[np.ndarray]]:
    """One line of JSON, then the arrays' bytes; never a pickle, since a hostile file may rule that process."""
    assert child.stdin is not None and child.stdout is not None
    child.stdin.write(question + b"\n")
    child.stdin.flush()
    line = child.stdout.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    answer = json.loads(line)
    return answer, [_array(child.stdout, np.dtype(kind), shape) for kind, shape in answer.get("arrays", ())]


def _array(stream: IO[bytes], kind: np.dtype[Any], shape: list[int]) -> np.ndarray:
    size = kind.itemsize * int(np.prod(shape))
    content = stream.read(size)
    if len(content) < size:
        raise EOFError
    return np.ndarray(shape, kind, content)


def _end_of(child: subprocess.Popen[bytes]) -> str:
    code = child.wait()
    if code < 0:
        return f"the HDF5 library crashes on it: {signal.Signals(-code).name}"
    return f"the process that reads it ends with exit code {code}"
