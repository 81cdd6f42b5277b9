"""CIFAR-10 and CIFAR-100 as their python archives, unpacked or not (Krizhevsky 2009)."""

from __future__ import annotations

import io
import pickle
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from xkd_eval.datasets.base import ImageDataset, Label, Sample
from xkd_eval.errors import XkdError

_FILES: dict[str, dict[str, tuple[str, ...]]] = {
    "cifar10": {"train": tuple(f"data_batch_{number}" for number in range(1, 6)), "test": ("test_batch",)},
    "cifar100": {"train": ("train",), "test": ("test",)},
}
_META = {"cifar10": ("batches.meta", "label_names"), "cifar100": ("meta", "fine_label_names")}
_LABELS = {"cifar10": "labels", "cifar100": "fine_labels"}
_SIDE = 32


class CifarArchive(ImageDataset):
    """`cifar-10-batches-py/`, `cifar-100-python/` (fine labels), or the .tar.gz of either, held in memory.

    The pickles are read by an unpickler that knows NumPy arrays and nothing else. Ids are split, row and label.

    Args:
        path: the folder or the archive.
        split: "train" or "test".

    Raises:
        XkdError: a file is missing, damaged or holds something else.
    """

    label_kind = "index"

    def __init__(self, path: Path, split: str = "test") -> None:
        contents = _contents(path)
        kind = "cifar10" if "batches.meta" in contents else "cifar100"
        meta_file, names_key = _META[kind]
        self.name = f"{kind}-{split}"
        self.classes = tuple(_text(name) for name in _field(path, contents, meta_file, names_key))
        self.labels: list[Label] = []
        pixels: list[np.ndarray] = []
        for file in _FILES[kind][split]:
            pixels.append(_pixels(path, file, _field(path, contents, file, "data")))
            self.labels += [int(label) for label in _field(path, contents, file, _LABELS[kind])]
        self._pixels = np.concatenate(pixels)
        if len(self._pixels) != len(self.labels):
            raise XkdError(f"data: '{path}' has {len(self._pixels)} images and {len(self.labels)} labels")
        self.ids = [f"{self.name}/{row:05d}-{label}" for row, label in enumerate(self.labels)]

    def load(self, position: int) -> Sample:
        """The image, 32x32."""
        return Sample(Image.fromarray(self._pixels[position]))


def is_cifar_folder(folder: Path) -> bool:
    """Whether the folder is an unpacked python archive."""
    return any(
        (folder / _META[kind][0]).is_file() and any((folder / file).is_file() for file in sum(splits.values(), ()))
        for kind, splits in _FILES.items()
    )


class _ArraysOnly(pickle.Unpickler):
    """An archive from anywhere must not run code: only what a NumPy array consists of is built."""

    _KNOWN: ClassVar[dict[tuple[str, str], Any]] = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("numpy", "_reconstruct"): np.zeros(0).__reduce__()[0],
        ("numpy", "_frombuffer"): np.zeros(0).__reduce_ex__(5)[0],
        # How Python 3 writes bytes for Python 2.
        ("_codecs", "encode"): lambda text, encoding: text.encode("latin1"),
    }

    def find_class(self, module: str, name: str) -> Any:
        known = self._KNOWN.get((module.partition(".")[0], name))
        if known is None:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed")
        return known


def _contents(path: Path) -> dict[str, bytes]:
    """File name -> bytes."""
    wanted = {file for splits in _FILES.values() for files in splits.values() for file in files}
    wanted |= {file for file, _ in _META.values()}
    try:
        if path.is_dir():
            return {file: (path / file).read_bytes() for file in sorted(wanted) if (path / file).is_file()}
        with tarfile.open(path) as archive:
            members = {PurePosixPath(member.name).name: member for member in archive if member.isfile()}
            found = {file: archive.extractfile(members[file]) for file in sorted(wanted & members.keys())}
            return {file: content.read() for file, content in found.items() if content is not None}
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise XkdError(
            f"data: '{path}' cannot be read ({error}); expected cifar-10-python.tar.gz or cifar-100-python.tar.gz whole"
        ) from error


def _field(path: Path, contents: dict[str, bytes], file: str, key: str) -> Any:
    if file not in contents:
        raise XkdError(f"data: '{path}' has no '{file}'; expected the CIFAR python archive whole, fetch it again")
    try:
        loaded = _ArraysOnly(io.BytesIO(contents[file]), encoding="bytes").load()
        return {_text(field): value for field, value in loaded.items()}[key]
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise XkdError(
            f"data: '{file}' of '{path}' is damaged or no CIFAR file ({error!r}); expected a pickled dictionary with "
            f"{key!r}"
        ) from error


def _text(value: bytes | str) -> str:
    # Python 2 wrote bytes, and who packs the archive again with Python 3 may write text.
    return value.decode() if isinstance(value, bytes) else value


def _pixels(path: Path, file: str, data: Any) -> np.ndarray:
    """(N, 3072) planar -> (N, 32, 32, 3)."""
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape[1:] != (3 * _SIDE * _SIDE,):
        raise XkdError(f"data: '{file}' of '{path}' holds no (N, 3072) uint8 images; fetch the archive again")
    return np.ascontiguousarray(data.reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1))
