"""Maps computed elsewhere: one array an image id, and how ours are written in the same form."""

from __future__ import annotations

import hashlib
import io
import math
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.errors import ExplainerError, XkdError
from xkd_eval.escapes import file_name
from xkd_eval.explainers.base import Context, Explainer
from xkd_eval.files import replacing, writing
from xkd_eval.foreign import bytes_of, file_digest, is_there, is_writable_name, open_file, reading
from xkd_eval.resizing import resized

_ENCODED = "%~"
_SEAL = b"xkd map 1"
_LARGEST = 2**30  # bytes of a file, and in an .npz, which may be compressed


@dataclass(frozen=True)
class StoredMaps(Explainer):
    """Maps read from a folder; an id's slashes are subfolders.

    For the id `n01440764/x.JPEG` the first that exists of `n01440764/x.JPEG.npy`, `.../x.JPEG.npz`, `.../x.npy` and
    `.../x.npz`. An array is 2-D of any size (leading axes of length 1 are dropped); an .npz holds one array. Files of
    `save_maps` have a digest of id and array behind the array: what was damaged or renamed since is refused.

    Attributes:
        directory: the folder.
    """

    name: ClassVar[str] = "stored"
    citation: ClassVar[str] = "maps computed elsewhere"
    cost: ClassVar[str] = "0"
    model_free: ClassVar[bool] = True
    reads_size: ClassVar[bool] = True

    directory: Path

    def __post_init__(self) -> None:
        if not is_there(self.directory, Path.is_dir):
            raise XkdError(f"maps: '{self.directory}' is no folder; expected one with an .npy or .npz file an image id")

    def parameters(self) -> dict[str, Any]:
        """The folder, and a digest of its files' names and contents: a run is not continued on other maps."""
        return {"directory": str(self.directory), "digest": self._digest}

    @cached_property
    def _digest(self) -> str:
        sha = hashlib.sha256()
        for path in sorted(Path(self.directory).rglob("*.np[yz]")):
            with reading(f"maps: {str(path)!r} cannot be read", "make it again"):
                content = file_digest(path)
            sha.update(f"{path.relative_to(self.directory).as_posix()!r} {content}\n".encode())
        return sha.hexdigest()[:12]

    @cached_property
    def _are_of_one_size(self) -> bool:
        """Whether all maps of the folder are; not where one of them must be unpacked to tell."""
        shapes = set()
        for path in Path(self.directory).rglob("*.np[yz]"):
            shapes.add(_shape(path))
            if len(shapes) > 1 or None in shapes:
                return False
        return True

    def __call__(
        self, classifier: Classifier, images: Tensor, classes: Tensor, context: Context | None = None
    ) -> Tensor:
        """The maps of the context's B ids, (B, h, w) float32.

        Maps that are of one size throughout the folder come as they are. Others are resized, each by itself, to the
        size at which the context says that they will be scored, so that a map does not depend on its batch; without a
        context a mixed batch is resized to the input's size.
        """
        if context is None or context.ids is None:
            raise ExplainerError("maps: stored maps are looked up by image id, and the batch has no ids")
        maps = [torch.from_numpy(self.load(identifier)) for identifier in context.ids]
        asked = None if self._are_of_one_size else context.size
        if asked is not None or len({loaded.shape for loaded in maps}) > 1:
            size = asked or (images.shape[2], images.shape[3])
            maps = [resized(loaded[None], size)[0] for loaded in maps]
        return torch.stack(maps).to(images.device)

    def load(self, identifier: str) -> np.ndarray:
        """The map of one image, (h, w) float32.

        Raises:
            XkdError: no file, damaged, not readable without pickle, not numeric, not 2-D, beyond float32; or one of
                ours that was made of another image.
        """
        path = self._find(identifier)
        where = f"maps: {str(path)!r} (image {identifier!r})"
        with reading(f"{where} cannot be read", "make it again; expected one array, saved without pickle"):
            array = _read(path, identifier)
        with np.errstate(over="ignore"):
            values = array.astype(np.float32)
        if (np.isinf(values) & np.isfinite(array)).any():
            raise XkdError(f"{where} has values beyond the range of float32; divide the map by its largest")
        return values

    def _find(self, identifier: str) -> Path:
        stem = map_path(self.directory, identifier).with_suffix("")  # the .npy that map_path appends
        bare = stem.with_suffix("")
        candidates = [Path(f"{base}{suffix}") for base in (stem, bare) for suffix in (".npy", ".npz")]
        for candidate in candidates:
            if is_there(candidate, Path.is_file):
                return candidate
        raise XkdError(
            f"maps: no map for image {identifier!r}; looked for {candidates[0]}, also .npz and {bare.name}.npy"
        )


def map_path(directory: Path | str, identifier: str) -> Path:
    """Where the map of an image is written: the id's slashes are subfolders, and .npy is appended.

    It lies in the directory, whatever the id: a part of it that cannot name a file (such as `..`) is encoded.
    """
    *folders, name = (_part(part) for part in identifier.split("/"))
    return Path(directory, *folders, f"{name}.npy")


def _part(part: str) -> str:
    is_plain = part.isprintable() and not part.startswith(_ENCODED) and is_writable_name(part)
    return part if is_plain else f"{_ENCODED}{file_name(part)}"


def save_maps(directory: Path | str, ids: Sequence[str], maps: Tensor) -> None:
    """Write one float32 .npy a map, atomically; StoredMaps reads the same values back, and `numpy.load` too.

    Args:
        directory: made where it is missing.
        ids: B image ids.
        maps: (B, h, w).

    Raises:
        XkdError: the numbers of ids and maps differ, or the directory cannot be written.
    """
    if maps.ndim != 3 or len(maps) != len(ids):
        raise XkdError(f"save_maps: maps of shape {tuple(maps.shape)} for {len(ids)} ids; expected (B, h, w)")
    arrays = maps.detach().float().cpu().numpy()
    for identifier, array in zip(ids, arrays, strict=True):
        path = map_path(directory, identifier)
        buffer = io.BytesIO()
        np.save(buffer, array)
        content = buffer.getvalue()
        with writing(f"save_maps: {str(path)!r}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as file:
                file.write(content + _seal(content, identifier))


def _seal(content: bytes, identifier: str) -> bytes:
    """What stands behind the array in a file of ours; numpy stops before it."""
    return _SEAL + hashlib.sha256(identifier.encode(errors="surrogatepass") + b"\0" + content).digest()


def _read(path: Path, identifier: str) -> np.ndarray:
    """The array of a file, 2-D. What a header claims is held against what is there before memory is taken for it."""
    content = bytes_of(path, _LARGEST)
    if content.startswith(np.lib.format.MAGIC_PREFIX):
        array, rest = _array(io.BytesIO(content), len(content))
        if rest and rest != _seal(content[: -len(rest)], identifier):
            raise ValueError("damaged, or renamed, or more than one array")
        return array
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        if len(members) != 1:
            raise ValueError(f"an .npz with {len(members)} arrays")
        if members[0].file_size > _LARGEST:
            raise ValueError(f"{members[0].file_size:,} bytes, more than any map has")
        array, _ = _array(io.BytesIO(archive.read(members[0])), members[0].file_size)  # with its CRC-32
        return array


def _shape(path: Path) -> tuple[int, ...] | None:
    """Height and width of an .npy's array, by its header; None of whatever is read with more care, and may be none."""
    try:
        with open_file(path) as file:
            version = np.lib.format.read_magic(file)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            return header(file)[0][-2:]
    except (OSError, ValueError, SyntaxError):
        return None


def _array(file: io.BytesIO, size: int) -> tuple[np.ndarray, bytes]:
    """The 2-D array at the beginning of a file in memory, and what stands behind it."""
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, kind = header(file)
    if len(shape) < 2 or any(side != 1 for side in shape[:-2]) or 0 in shape or kind.kind not in "fiub":
        raise ValueError(f"{kind} of shape {shape}; expected numbers of shape (height, width)")
    if math.prod(shape) * kind.itemsize > size:
        raise ValueError(f"a map of shape {shape} in {size:,} bytes")
    file.seek(0)
    array = np.load(file, allow_pickle=False)
    return array.reshape(shape[-2:]), file.read()
