"""Folders of images: one subfolder a class, or flat and without labels."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from xkd_eval.datasets.base import ImageDataset, Label, Sample
from xkd_eval.datasets.decode import decode_image
from xkd_eval.errors import XkdError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".jp2"})
_LITTER = frozenset({"thumbs.db", "desktop.ini"})


class FolderOfImages(ImageDataset):
    """Files below `root`, each decoded when it is asked for; an id is a file's path relative to `root`."""

    def __init__(self, root: Path, ids: list[str], name: str) -> None:
        self.root = root
        self.ids = ids
        self.labels: list[Label] = [None] * len(ids)
        self.name = name

    def load(self, position: int) -> Sample:
        """The image in that file; raises UnreadableImageError where it is none."""
        return Sample(self._image(position))

    def _image(self, position: int) -> Image.Image:
        identifier = self.ids[position]
        return decode_image(self.root / identifier, identifier)


class FlatFolder(FolderOfImages):
    """The files directly in a folder, in the order of their names, without labels."""

    def __init__(self, root: Path, name: str, exclude: frozenset[str] = frozenset()) -> None:
        super().__init__(root, [file for file in file_names(root) if file not in exclude], name)


class ClassFolders(FolderOfImages):
    """One subfolder a class, which may have subfolders of its own; the label is the subfolder's name.

    Subfolders named by whole numbers (0, 1, ..., 9) give class indices.
    """

    def __init__(self, root: Path, name: str) -> None:
        folders = subfolder_names(root)
        paths = [(folder, path) for folder in folders for path in files_below(root / folder, prefix=folder)]
        super().__init__(root, [path for _, path in paths], name)
        if all(folder.isdecimal() for folder in folders):
            self.label_kind = "index"
            self.labels = [int(folder) for folder, _ in paths]
        else:
            self.label_kind = "name"
            self.labels = [folder for folder, _ in paths]
            self.classes = tuple(folders)


def is_image_name(name: str) -> bool:
    """Whether the suffix is one of an image."""
    return name[name.rfind(".") :].lower() in IMAGE_SUFFIXES


def file_names(folder: Path) -> list[str]:
    """The files directly in a folder, sorted, without hidden ones and what desktops leave behind."""
    return sorted(entry.name for entry in _entries(folder) if entry.is_file() and entry.name.lower() not in _LITTER)


def subfolder_names(folder: Path) -> list[str]:
    """The folders directly in a folder, sorted, without hidden ones."""
    return sorted(entry.name for entry in _entries(folder) if entry.is_dir())


def files_below(folder: Path, prefix: str) -> Iterator[str]:
    """Every file below a folder as prefix/..., each level sorted, files first."""
    for name in file_names(folder):
        yield f"{prefix}/{name}"
    for name in subfolder_names(folder):
        yield from files_below(folder / name, f"{prefix}/{name}")


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise XkdError(
            f"data: '{folder}' cannot be listed ({error.strerror}); check the path and its rights"
        ) from error
