"""Maps computed elsewhere: one array an image id, and how ours are written in the same form."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.errors import ExplainerError, XkdError
from xkd_eval.explainers.base import Context, Explainer
from xkd_eval.files import replacing
from xkd_eval.foreign import reading
from xkd_eval.resizing import resized


@dataclass(frozen=True)
class StoredMaps(Explainer):
    """Maps read from a folder; an id's slashes are subfolders.

    For the id `n01440764/x.JPEG` the first that exists of `n01440764/x.JPEG.npy`, `.../x.JPEG.npz`, `.../x.npy` and
    `.../x.npz`. An array is 2-D of any size (a leading axis of length 1 is dropped); an .npz holds one array.

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
        if not Path(self.directory).is_dir():
            raise XkdError(f"maps: '{self.directory}' is no folder; expected one with an .npy or .npz file an image id")

    def parameters(self) -> dict[str, Any]:
        """The folder, and a digest of its files' names, sizes and times: a run is not continued on other maps."""
        return {"directory": str(self.directory), "digest": self._digest}

    @cached_property
    def _digest(self) -> str:
        files = sorted(Path(self.directory).rglob("*.np[yz]"))
        listed = [
            (path.relative_to(self.directory).as_posix(), path.stat().st_size, path.stat().st_mtime_ns)
            for path in files
        ]
        return hashlib.sha256(repr(listed).encode()).hexdigest()[:12]

    def __call__(
        self, classifier: Classifier, images: Tensor, classes: Tensor, context: Context | None = None
    ) -> Tensor:
        """The maps of the context's B ids, (B, h, w) float32.

        Maps may differ in size from image to image. Where the context says at which size they will be scored, each is
        resized to it by itself, so that a map does not depend on its batch; otherwise a mixed batch is resized to the
        input's size.
        """
        if context is None or context.ids is None:
            raise ExplainerError("maps: stored maps are looked up by image id, and the batch has no ids")
        maps = [torch.from_numpy(self.load(identifier)) for identifier in context.ids]
        if context.size is not None or len({loaded.shape for loaded in maps}) > 1:
            size = context.size or (images.shape[2], images.shape[3])
            maps = [resized(loaded[None], size)[0] for loaded in maps]
        return torch.stack(maps).to(images.device)

    def load(self, identifier: str) -> np.ndarray:
        """The map of one image, (h, w) float32.

        Raises:
            XkdError: no file, not readable without pickle, not numeric, or not 2-D.
        """
        path = self._find(identifier)
        with reading(
            f"maps: {path} (image {identifier!r}) cannot be read", "expected one array, as numpy.save writes it"
        ):
            array = _read(path)
        while array.ndim > 2 and array.shape[0] == 1:
            array = array[0]
        if array.ndim != 2 or array.size == 0 or array.dtype.kind not in "fiub":
            raise XkdError(
                f"maps: {path} (image {identifier!r}) holds {array.dtype} of shape {array.shape}; "
                "expected numbers of shape (height, width)"
            )
        with np.errstate(over="ignore"):
            values = array.astype(np.float32)
        if not np.array_equal(np.isfinite(values), np.isfinite(array)):
            raise XkdError(f"maps: {path} (image {identifier!r}) holds values beyond what float32 does; scale them")
        return values

    def _find(self, identifier: str) -> Path:
        stem = map_path(self.directory, identifier).with_suffix("")  # the .npy that map_path appends
        bare = stem.with_suffix("")
        candidates = [Path(f"{base}{suffix}") for base in (stem, bare) for suffix in (".npy", ".npz")]
        for candidate in candidates:
            if candidate.is_file():
                return candidate
        raise XkdError(
            f"maps: no map for image {identifier!r}; looked for {candidates[0]}, also .npz and {bare.name}.npy"
        )


def map_path(directory: Path | str, identifier: str) -> Path:
    """Where the map of an image is written: the id's slashes are subfolders, and .npy is appended.

    Raises:
        XkdError: the id would lead out of the directory.
    """
    parts = PurePosixPath(identifier).parts
    if not parts or PurePosixPath(identifier).is_absolute() or ".." in parts:
        raise XkdError(f"maps: image id {identifier!r} does not name a file below {directory}")
    return Path(directory, *parts[:-1], f"{parts[-1]}.npy")


def save_maps(directory: Path | str, ids: Sequence[str], maps: Tensor) -> None:
    """Write one float32 .npy a map, atomically; StoredMaps reads the same values back.

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
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as file:
                np.save(file, array)
        except OSError as error:
            raise XkdError(f"save_maps: cannot write {path}: {error.strerror}") from error


def _read(path: Path) -> np.ndarray:
    with path.open("rb") as file:
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        if len(loaded.files) != 1:
            raise ValueError(f"an .npz with {len(loaded.files)} arrays; expected one")
        return loaded[loaded.files[0]]
