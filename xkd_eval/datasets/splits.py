"""What the parts of a data set are called on disk."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from xkd_eval.datasets.folder import image_names, is_image_name
from xkd_eval.errors import XkdError

PART_NAMES: dict[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "validation", "valid"),
    "test": ("test",),
}
"""A part, and what it may be called."""

# In the order of preference: many sets have one held-out part, under either name.
SPLIT_NAMES: dict[str, tuple[str, ...]] = {
    "train": PART_NAMES["train"],
    "val": PART_NAMES["val"] + PART_NAMES["test"],
    "test": PART_NAMES["test"] + PART_NAMES["val"],
}
_PART_OF = {name: part for part, names in PART_NAMES.items() for name in names}
# Folders that archives and hubs wrap their data in.
_WRAPPERS = ("ILSVRC", "Data", "CLS-LOC", "data", "cifar-10-batches-py", "cifar-100-python")


def part_of(text: str) -> str | None:
    """The part that a text names, whatever the case: "train", "val" or "test"."""
    return _PART_OF.get(text.strip().lower())


def parts_of(files: Sequence[Path]) -> dict[str, list[Path]]:
    """How the files' names call parts (validation-00000-of-00014.parquet) -> the files.

    All of them under "" where no name says any; beside others that do, one that says none is of no part.
    """
    called: dict[str, list[Path]] = {}
    for file in files:
        called.setdefault(_part_in(file.name), []).append(file)
    return called if set(called) == {""} else {name: paths for name, paths in called.items() if name}


def row_name(file: Path) -> str:
    """What a shard's row is called, its number aside: "imagenet-val-000007.tar" -> "imagenet-val"."""
    name = re.sub(r"\.(parquet|tar|tar\.gz|tgz)$", "", file.name, flags=re.IGNORECASE)
    return re.sub(r"[-_.]?\d+([-_.]of[-_.]\d+)?$", "", name) or name


def inner_folders(root: Path, folders: list[str]) -> tuple[dict[str, Path], Path | None]:
    """The subfolders that hold parts, by their names in small letters, and the one that merely wraps data.

    Neither where the subfolders are the data.
    """
    # CIFAR-100 has a class called train: a part stands among folders that are no classes.
    parts = {folder.lower(): folder for folder in folders if folder.lower() in _PART_OF}
    wrappers = [wrapper for wrapper in _WRAPPERS if wrapper in folders]
    others = set(folders) - set(parts.values()) - set(wrappers)
    if any(_has_images(root / folder) for folder in others):
        return {}, None
    return {name: root / folder for name, folder in parts.items()}, root / wrappers[0] if wrappers else None


def set_name(root: Path) -> str:
    """A short name from a path: .../imagenet/val -> imagenet-val."""
    parts = [part for part in root.resolve().parts[1:] if part not in _WRAPPERS]
    return plain_name("-".join(parts[-2:] if parts and parts[-1].lower() in _PART_OF else parts[-1:]))


def plain_name(text: str) -> str:
    """A name as a table shows it and a folder can have it; "data" where there is none."""
    return re.sub(r"[^\w .,+=@()\[\]-]", "_", text.encode(errors="replace").decode()).strip() or "data"


def missing(place: Path, split: str, found: Collection[str]) -> XkdError:
    """The error of a path that holds other parts only."""
    return XkdError(
        f"data: {str(place)!r} holds {', '.join(sorted(found))} and no {' or '.join(SPLIT_NAMES[split])}; give the "
        "path of the part that is meant"
    )


def _part_in(name: str) -> str:
    tokens = re.split(r"[-_.\d]+", name.lower())
    return next((token for token in tokens if token in _PART_OF), "")


def _has_images(folder: Path) -> bool:
    return any(map(is_image_name, image_names(folder)))
