"""What the parts of a data set are called on disk."""

from __future__ import annotations

import re
from pathlib import Path

from xkd_eval.datasets.folder import image_names, is_image_name
from xkd_eval.errors import XkdError

# In the order of preference: many sets have one held-out part, under either name.
SPLIT_NAMES: dict[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "validation", "valid", "test"),
    "test": ("test", "val", "validation", "valid"),
}
_ALL_NAMES = frozenset(name for names in SPLIT_NAMES.values() for name in names)
# Folders that archives and hubs wrap their data in.
_WRAPPERS = ("ILSVRC", "Data", "CLS-LOC", "data", "cifar-10-batches-py", "cifar-100-python")


def shards_of_split(folder: Path, names: list[str], split: str) -> tuple[list[Path], str]:
    """The files whose names say `split` (validation-00000-of-00014.parquet), and how they call it.

    All of them, and "", where no name says any split.

    Raises:
        XkdError: only other splits are there.
    """
    called = {name: _split_in(name) for name in names}
    if not any(called.values()):
        return [folder / name for name in names], ""
    for wanted in SPLIT_NAMES[split]:
        chosen = [folder / name for name in names if called[name] == wanted]
        if chosen:
            return chosen, wanted
    raise _missing(folder, split, sorted(set(called.values()) - {""}))


def inner_folder(root: Path, folders: list[str], split: str) -> Path | None:
    """The subfolder that holds the split, or that merely wraps the data; None where the subfolders are the data.

    Raises:
        XkdError: only other splits are there.
    """
    # CIFAR-100 has a class called train: a split stands among folders that are no classes.
    splits = {folder.lower(): folder for folder in folders if folder.lower() in _ALL_NAMES}
    wrappers = [wrapper for wrapper in _WRAPPERS if wrapper in folders]
    others = set(folders) - set(splits.values()) - set(wrappers)
    if not (splits or wrappers) or any(_has_images(root / folder) for folder in others):
        return None
    for wanted in SPLIT_NAMES[split]:
        if wanted in splits:
            return root / splits[wanted]
    if wrappers:
        return root / wrappers[0]
    raise _missing(root, split, sorted(splits.values()))


def set_name(root: Path) -> str:
    """A short name from a path: .../imagenet/val -> imagenet-val."""
    parts = [part for part in root.resolve().parts[1:] if part not in _WRAPPERS]
    return plain_name("-".join(parts[-2:] if parts and parts[-1].lower() in _ALL_NAMES else parts[-1:]))


def plain_name(text: str) -> str:
    """A name as a table shows it and a folder can have it; "data" where there is none."""
    return re.sub(r"[^\w .,+=@()\[\]-]", "_", text.encode(errors="replace").decode()).strip() or "data"


def _split_in(name: str) -> str:
    tokens = re.split(r"[-_.\d]+", name.lower())
    return next((token for token in tokens if token in _ALL_NAMES), "")


def _has_images(folder: Path) -> bool:
    return any(map(is_image_name, image_names(folder)))


def _missing(place: Path, split: str, found: list[str]) -> XkdError:
    return XkdError(
        f"data: {str(place)!r} holds {', '.join(found)} and no {' or '.join(SPLIT_NAMES[split])}; give the path of the "
        "part that is meant"
    )
