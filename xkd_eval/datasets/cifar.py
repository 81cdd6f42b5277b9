"""CIFAR-10 and CIFAR-100 as their python archives, unpacked or not (Krizhevsky 2009)."""

from __future__ import annotations

import gzip
import io
import operator
import pickle
import pickletools
import re
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from xkd_eval.datasets.base import ImageDataset, Label, Sample, content_hash
from xkd_eval.errors import XkdError
from xkd_eval.foreign import bytes_of, open_file, reading, short

_FILES: dict[str, dict[str, tuple[str, ...]]] = {
    "cifar10": {"train": tuple(f"data_batch_{number}" for number in range(1, 6)), "test": ("test_batch",)},
    "cifar100": {"train": ("train",), "test": ("test",)},
}
_META = {"cifar10": ("batches.meta", "label_names"), "cifar100": ("meta", "fine_label_names")}
_LABELS = {"cifar10": "labels", "cifar100": "fine_labels"}
_SIDE = 32
# The largest, CIFAR-100's training images, has 155 MB.
_LARGEST_FILE = 2**28


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
        self.classes = _names(path, contents, meta_file, names_key)
        parts = [_rows(path, contents, file, _LABELS[kind], len(self.classes)) for file in _FILES[kind][split]]
        self._pixels = np.concatenate([pixels for pixels, _ in parts])
        self.labels: list[Label] = [label for _, labels in parts for label in labels]
        self.ids = [f"{self.name}/{row:05d}-{label}" for row, label in enumerate(self.labels)]

    def load(self, position: int) -> Sample:
        """The image, 32x32."""
        return Sample(Image.fromarray(self._pixels[position]), content_hash=self.content_hash(position))

    def content_hash(self, position: int) -> str:
        """Of its pixels."""
        return content_hash(self._pixels[position])

    def stored_sizes(self, positions: Sequence[int] | None = None) -> list[int] | None:
        """Of the pixels."""
        return [3 * _SIDE * _SIDE] * len(self if positions is None else positions)


def is_cifar_folder(folder: Path) -> bool:
    """Whether the folder is an unpacked python archive."""
    return any(
        (folder / _META[kind][0]).is_file() and any((folder / file).is_file() for file in sum(splits.values(), ()))
        for kind, splits in _FILES.items()
    )


def _dtype(name: Any, *options: Any) -> np.dtype[Any]:
    """A type of numbers, to be given its byte order; NumPy would take more, and warn of some of it."""
    if not re.fullmatch("[biuf][1248]", str(_text(name)), re.ASCII):
        raise pickle.UnpicklingError(f"numbers of {short(name)} are not allowed")
    return np.dtype(_text(name), align=False, copy=True)


class _ArraysOnly(pickle.Unpickler):
    """An archive from anywhere must not run code: only what a NumPy array consists of is built."""

    _KNOWN: ClassVar[dict[tuple[str, str], Any]] = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): _dtype,
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
    remedy = "expected cifar-10-python.tar.gz or cifar-100-python.tar.gz, whole"
    with reading(f"data: {str(path)!r} cannot be read", remedy):
        if path.is_dir():
            return {file: bytes_of(path / file, _LARGEST_FILE) for file in sorted(wanted) if (path / file).is_file()}
        found: dict[str, bytes] = {}
        # Member by member and to the very end: there gzip's checksum stands, which covers every byte before it.
        compressed = path.suffix != ".tar"
        with open_file(path) as file, gzip.open(file) if compressed else file as stream:
            with tarfile.open(fileobj=stream, mode="r:") as archive:
                for member in archive:
                    name = PurePosixPath(member.name).name
                    if member.isreg() and name in wanted:
                        found[name] = _member(archive, member, twice=name in found)
            while stream.read(2**20):
                pass
        return found


def _member(archive: tarfile.TarFile, member: tarfile.TarInfo, *, twice: bool) -> bytes:
    if twice or not 0 <= member.size <= _LARGEST_FILE:
        raise ValueError(f"{member.name} {'is there twice' if twice else f'has {member.size} bytes'}")
    content = archive.extractfile(member)
    assert content is not None  # of a regular file
    return content.read()


def _field(path: Path, contents: dict[str, bytes], file: str, *keys: str) -> list[Any]:
    if file not in contents:
        raise XkdError(f"data: {str(path)!r} has no '{file}'; expected the CIFAR python archive whole, fetch it again")
    with _damaged(path, file):
        for _ in pickletools.genops(contents[file]):
            pass  # of sizes beyond the end, for which the unpickler would ask for memory
        loaded = _ArraysOnly(io.BytesIO(contents[file]), encoding="bytes").load()
        fields = {_text(field): value for field, value in loaded.items()}
        return [fields[key] for key in keys]


def _names(path: Path, contents: dict[str, bytes], file: str, key: str) -> tuple[str, ...]:
    (names,) = _field(path, contents, file, key)
    with _damaged(path, file):
        found = tuple(_text(name) for name in names)
        if not found or not all(isinstance(name, str) for name in found):
            raise TypeError(f"{key} are {short(names)}")
        return found


def _rows(path: Path, contents: dict[str, bytes], file: str, key: str, classes: int) -> tuple[np.ndarray, list[int]]:
    """Pixels (N, 32, 32, 3) and N labels."""
    data, labels = _field(path, contents, file, "data", key)
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape[1:] != (3 * _SIDE * _SIDE,):
        raise XkdError(f"data: '{file}' of {str(path)!r} holds no (N, 3072) uint8 images; fetch the archive again")
    with _damaged(path, file):
        found = [operator.index(label) for label in labels]
        if len(found) != len(data):
            raise ValueError(f"{len(data)} images and {len(found)} labels")
        if wrong := [label for label in found if not 0 <= label < classes]:
            raise ValueError(f"the label {wrong[0]} of {classes} classes")
    return np.ascontiguousarray(data.reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1)), found


def _text(value: Any) -> Any:
    # Python 2 wrote bytes, and who packs the archive again with Python 3 may write text.
    return value.decode() if isinstance(value, bytes) else value


@contextmanager
def _damaged(path: Path, file: str) -> Iterator[None]:
    with reading(f"data: '{file}' of {str(path)!r} is damaged or no CIFAR file", "fetch the archive again"):
        yield
