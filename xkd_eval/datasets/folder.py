"""Folders of images: one subfolder a class, or flat and without labels."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from xkd_eval.datasets.base import ImageDataset, Label, Sample, content_hash
from xkd_eval.datasets.decode import decode_image, stored_bytes
from xkd_eval.datasets.handles import RESTORE
from xkd_eval.datasets.identifiers import identifier_of, name_of
from xkd_eval.errors import UnreadableImageError, XkdError
from xkd_eval.foreign import reason

ARRAY_SUFFIX = ".npy"
_PHOTOGRAPHS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".jp2")
IMAGE_SUFFIXES = frozenset({*_PHOTOGRAPHS, ARRAY_SUFFIX})
CIFAR_ARCHIVE = re.compile(r"cifar-100?-python\.(tar\.gz|tgz|tar)")
_LITTER = frozenset({"thumbs.db", "desktop.ini"})


class FolderOfImages(ImageDataset):
    """Files below `root`, each decoded when it is asked for; an id is a file's path relative to `root`.

    Args:
        root: the folder.
        files: paths relative to it.
        name: of the set.
    """

    def __init__(self, root: Path, files: Sequence[str], name: str) -> None:
        self.root = root
        self.ids = [identifier_of(file) for file in files]
        self.labels: list[Label] = [None] * len(files)
        self.name = name

    def load(self, position: int) -> Sample:
        """The image in that file; raises UnreadableImageError where it is none."""
        content = self._content(position)
        return Sample(decode_image(content, self.ids[position]), content_hash=content_hash(content))

    def content_hash(self, position: int) -> str:
        """Of the file's bytes."""
        return content_hash(self._content(position))

    def stored_sizes(self, positions: Sequence[int] | None = None) -> list[int] | None:
        """Of the files."""
        return [self._size(position) for position in (range(len(self)) if positions is None else positions)]

    def _content(self, position: int) -> bytes:
        try:
            return stored_bytes(self.path(position), self.ids[position])
        except UnreadableImageError:
            if self.root.is_dir():
                raise
            raise XkdError(f"data: {str(self.root)!r} went away; {RESTORE}") from None  # not a skip of every image

    def path(self, position: int) -> Path:
        """Where that file lies."""
        return self.root / name_of(self.ids[position])

    def _size(self, position: int) -> int:
        return size_of(self.path(position))


class FlatFolder(FolderOfImages):
    """The files directly in a folder, in the order of their names, without labels."""

    def __init__(self, root: Path, name: str, exclude: frozenset[str] = frozenset()) -> None:
        super().__init__(root, [file for file in image_names(root) if file not in exclude], name)


class ClassFolders(FolderOfImages):
    """One subfolder a class, which may have subfolders of its own; the label is the subfolder's name.

    Subfolders named 0 to K - 1, each once, give class indices; other numbers are names like any others.
    """

    def __init__(self, root: Path, name: str) -> None:
        check_links(root)
        folders = subfolder_names(root)
        paths = [(folder, path) for folder in folders for path in files_below(root / folder, prefix=folder)]
        super().__init__(root, [path for _, path in paths], name)
        index_of = indices_of(folders)
        if index_of is not None:
            self.label_kind = "index"
            self.labels = [index_of[folder] for folder, _ in paths]
        else:
            self.label_kind = "name"
            self.labels = [identifier_of(folder) for folder, _ in paths]
            self.classes = tuple(map(identifier_of, folders))


def indices_of(names: Collection[str]) -> dict[str, int] | None:
    """Class name -> class index where the names, which are different, are 0 to K - 1, zeros before them or not."""
    if not all(name.isascii() and name.isdecimal() and len(name) < 10 for name in names):
        return None
    index_of = {name: int(name) for name in names}
    return index_of if sorted(index_of.values()) == list(range(len(names))) else None


def is_whole_set(name: str) -> bool:
    """Whether a file of this name is a data set of its own, in a folder too."""
    return (name.startswith("gtsegs") and name.endswith(".mat")) or bool(CIFAR_ARCHIVE.fullmatch(name.lower()))


def is_image_name(name: str) -> bool:
    """Whether the suffix is one of an image."""
    return name[name.rfind(".") :].lower() in IMAGE_SUFFIXES


def file_names(folder: Path) -> list[str]:
    """What lies directly in a folder and is no folder, sorted, without hidden files and what desktops leave behind.

    Links that lead nowhere are among them: they are images that cannot be read, not images that are not there.
    """
    return sorted(entry.name for entry in _entries(folder) if not _is_folder(entry) and not _is_litter(entry.name))


def subfolder_names(folder: Path) -> list[str]:
    """The folders directly in a folder, sorted, without hidden ones."""
    return sorted(entry.name for entry in _entries(folder) if _is_folder(entry))


def image_names(folder: Path) -> list[str]:
    """The files directly in a folder, and the folders that are called like an image, sorted."""
    return sorted([*file_names(folder), *filter(is_image_name, subfolder_names(folder))])


def files_below(folder: Path, prefix: str) -> Iterator[str]:
    """Every file below a folder as prefix/..., each level sorted, files first; see `image_names`.

    Raises:
        XkdError: a folder cannot be listed, or lies within itself by a link.
    """
    yield from _below(folder, prefix, ())


def has_images(folder: Path) -> bool:
    """Whether there is a file called like an image anywhere below a folder."""
    return any(map(is_image_name, files_below(folder, folder.name)))


def check_links(root: Path) -> None:
    """Raise XkdError where a link among class folders leads nowhere: a class would be missing, and nobody told."""
    for entry in _entries(root):
        if entry.is_symlink() and not (root / entry.name).exists():
            raise XkdError(f"data: {str(root / entry.name)!r} is a link that leads nowhere; mend or remove it")


def size_of(path: Path) -> int:
    """Of a file in bytes, -1 where it has none."""
    try:
        return path.stat().st_size
    except (OSError, ValueError):
        return -1


def _below(folder: Path, prefix: str, above: tuple[tuple[int, int], ...]) -> Iterator[str]:
    entries = _entries(folder)  # before stat: it says why a folder cannot be looked at
    found = folder.stat()
    here = (found.st_dev, found.st_ino)
    if here in above:
        raise XkdError(f"data: {str(folder)!r} is a link to a folder that it lies in; remove it")
    inner = {entry.name for entry in entries if _is_folder(entry) and not is_image_name(entry.name)}
    for name in sorted({entry.name for entry in entries if not _is_litter(entry.name)} - inner):
        yield f"{prefix}/{name}"
    for name in sorted(inner):
        yield from _below(folder / name, f"{prefix}/{name}", (*above, here))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_litter(name: str) -> bool:
    return name.lower() in _LITTER


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except (OSError, ValueError) as error:
        raise XkdError(
            f"data: {str(folder)!r} cannot be listed ({reason(error)}); check the path and its rights"
        ) from error
