"""One path or name -> the data set that is there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from xkd_eval.arguments import public
from xkd_eval.datasets.base import DATASETS, ImageDataset
from xkd_eval.datasets.checks import checked
from xkd_eval.datasets.cifar import CifarArchive, is_cifar_folder
from xkd_eval.datasets.flat import (
    COMPANIONS,
    DEVKIT_TRUTH,
    KAGGLE_SOLUTION,
    WithLabels,
    find_labels,
    read_labels,
    stem_of,
)
from xkd_eval.datasets.folder import (
    ClassFolders,
    FlatFolder,
    FolderOfImages,
    file_names,
    files_below,
    has_images,
    image_names,
    is_image_name,
    subfolder_names,
)
from xkd_eval.datasets.identifiers import identifier_of
from xkd_eval.datasets.imagenet import WordNetFolders, are_known_wordnet_ids, is_wordnet_id
from xkd_eval.datasets.named import is_named, open_named
from xkd_eval.datasets.parquet import ParquetImages
from xkd_eval.datasets.segmentation import MaskFolder, SegmentationMat, are_separate, is_mask_folder
from xkd_eval.datasets.shards import TarShards
from xkd_eval.datasets.splits import SPLIT_NAMES, inner_folder, plain_name, set_name, shards_of_split
from xkd_eval.errors import XkdError
from xkd_eval.foreign import check_regular, reading, short

_CIFAR_ARCHIVE = re.compile(r"cifar-100?-python\.(tar\.gz|tgz|tar)")
_TAR = re.compile(r"\.(tar|tar\.gz|tgz)$")
_LOOKED_FOR = (
    "one folder per WordNet id of ImageNet (n01440764/...), and no other",
    f"a flat folder of images (ILSVRC2012_val_*.JPEG; with {KAGGLE_SOLUTION}, {DEVKIT_TRUTH} and meta.mat, or a "
    "NAME,class list it has labels)",
    "Parquet with an image column (*.parquet)",
    "WebDataset shards (*.tar)",
    "gtsegs_ijcv.mat",
    "images with same-named mask PNGs (images/ and masks/, or a.jpg beside a.png)",
    "the CIFAR python archives",
    "one folder per class",
    "val/, validation/ or test/ with any of these",
)


@public(path="data")
def open_dataset(path: str | Path, *, split: str = "val", labels: Path | None = None) -> ImageDataset:
    """Recognise and open a data set.

    Args:
        path: a folder or file, see data/README.md; or, where no file is called so, a named data set: "embedded" or
            "embedded:SPLIT", which is made at run time, the NAME or NAME:rest of an installed package or of
            `register_dataset`, or "py:package.module:maker".
        split: "train", "val" or "test", where `path` holds several; "val" and "test" stand in for each other, and for
            "embedded" both are its test split.
        labels: a label file for a flat folder of images; by default one is looked for beside it.

    Raises:
        XkdError: nothing there, nothing recognised (the message lists what was looked for), no image, several layouts
            at once, or a damaged file.

    Example:
        >>> from xkd_eval import open_dataset
        >>> open_dataset("embedded:train").name
        'embedded-train'
        >>> open_dataset("imagenet/val").label_kind  # doctest: +SKIP
        'wordnet'
    """
    if split not in SPLIT_NAMES:
        raise XkdError(f"split: {split!r} is unknown; expected {', '.join(SPLIT_NAMES)}")
    if not isinstance(path, str | Path):
        raise XkdError(f"data: {short(path)} found; expected a path or a name")
    root, labels = Path(path), None if labels is None else Path(labels)
    with reading(f"data: {short(str(path))} cannot be looked at", "give a folder or a file"):
        there = root.exists()
    if not there:
        if is_named(str(path)):
            return checked(open_named(str(path), split=split, labels=labels))
        raise XkdError(f"data: {str(path)!r} does not exist; give a folder or a file, or {_named()}")
    dataset = _open_folder(root, split, labels) if root.is_dir() else _open_file(root, split, labels)
    if dataset is None:
        raise XkdError(f"data: {str(path)!r} is not recognised; looked for {'; '.join(_LOOKED_FOR)}")
    if not len(dataset) or (isinstance(dataset, FolderOfImages) and not any(map(is_image_name, dataset.ids))):
        raise XkdError(f"data: {str(path)!r} has no images; looked for {'; '.join(_LOOKED_FOR)}")
    if labels is not None and not isinstance(dataset, WithLabels):
        raise XkdError(f"labels: {str(path)!r} is no flat folder of images; leave `labels` out")
    return checked(dataset)


def _open_file(path: Path, split: str, labels: Path | None) -> ImageDataset | None:
    with reading(f"data: {str(path)!r} cannot be read", "expected a folder or a file"):
        check_regular(path)
    name = path.name.lower()
    if name.endswith(".mat"):
        return SegmentationMat(path)
    if name.endswith(".parquet"):
        return ParquetImages([path], plain_name(path.stem))
    if _CIFAR_ARCHIVE.fullmatch(name):
        return _cifar(path, split)
    if _TAR.search(name):
        return _tar([path], plain_name(path.stem), labels)
    if is_image_name(name):
        return FolderOfImages(path.parent, [path.name], plain_name(path.stem))
    return None


def _open_folder(root: Path, split: str, labels: Path | None) -> ImageDataset | None:
    """The first reader that knows the folder, or the folder in it that holds the split."""
    folders, files = subfolder_names(root), file_names(root)
    parquet = [file for file in files if file.lower().endswith(".parquet")]
    if is_cifar_folder(root):
        _check_alone(root, "CIFAR's files", folders, files)
        return _cifar(root, split)
    if _are_wordnet_folders(root, folders):
        _check_alone(root, "class folders", files=files)
        return WordNetFolders(root, list(filter(is_wordnet_id, folders)), set_name(root))
    if parquet:
        _check_alone(root, "Parquet", folders, files)
        paths, part = shards_of_split(root, parquet, split)
        return ParquetImages(paths, _joined(set_name(root), part))
    if is_mask_folder(root):
        separate = are_separate(root)
        others = [folder for folder in folders if not (separate and folder in ("images", "masks"))]
        _check_alone(root, "images with masks", others, files if separate else ())
        return MaskFolder(root, set_name(root))
    if any(map(is_image_name, files)):
        _check_alone(root, "images", folders)
        return _flat(root, labels)
    inner = inner_folder(root, folders, split)
    if inner is not None:
        return _open_folder(inner, split, labels)
    archive = _archive_in(root, files, split, labels)
    if archive is not None:
        _check_alone(root, "archives", folders)
        return archive
    return ClassFolders(root, set_name(root)) if folders else None


def _are_wordnet_folders(root: Path, folders: list[str]) -> bool:
    """Whether every folder with anything in it is called by the WordNet id of an ImageNet class."""
    named = list(filter(is_wordnet_id, folders))
    others = (folder for folder in folders if not is_wordnet_id(folder))
    return are_known_wordnet_ids(named) and not any(True for other in others for _ in files_below(root / other, other))


def _check_alone(root: Path, what: str, folders: Sequence[str] = (), files: Sequence[str] = ()) -> None:
    """Refuse to leave out images, or folders of them, in silence."""
    images = list(filter(is_image_name, files))
    inner = [folder for folder in folders if not is_image_name(folder) and has_images(root / folder)]
    for beside, called in ((images, "images"), (inner, "folders of images")):
        if beside:
            raise XkdError(
                f"data: {str(root)!r} holds {what} and {len(beside)} {called} beside them ({short(beside[0])}"
                f"{', ...' if len(beside) > 1 else ''}); move what is not meant, or give the path of what is"
            )


def _archive_in(root: Path, files: list[str], split: str, labels: Path | None) -> ImageDataset | None:
    """A data set that is one file, or a row of shards, in a folder of its own."""
    whole = [
        file
        for file in files
        if (file.startswith("gtsegs") and file.endswith(".mat")) or _CIFAR_ARCHIVE.fullmatch(file.lower())
    ]
    tars = [file for file in files if _TAR.search(file.lower()) and file not in whole]
    rows = {_row_of(file) for file in tars if file.lower().endswith(".tar")}
    # A compressed one of the same row is refused by the reader; it must not be left out.
    shards = [file for file in tars if _row_of(file) in rows]
    if len(whole) + bool(shards) > 1:
        found = " and ".join(map(short, [*whole, *shards][:2]))
        raise XkdError(f"data: {str(root)!r} holds several data sets ({found}); give the path of one")
    if whole:
        return _open_file(root / whole[0], split, labels)
    if not shards:
        return None
    paths, part = shards_of_split(root, shards, split)
    return _tar(paths, _joined(set_name(root), part), labels)


def _row_of(file: str) -> str:
    """What the shards of one row are all called, their numbers aside."""
    return re.sub(r"\d+", "0", _TAR.sub("", file.lower()))


def _flat(root: Path, labels: Path | None) -> ImageDataset:
    stems = {stem_of(identifier_of(name)) for name in image_names(root)}
    found = find_labels(root, stems) if labels is None else read_labels(labels, stems)
    if found is None:
        return FlatFolder(root, set_name(root))
    return WithLabels(FlatFolder(root, set_name(root), exclude=COMPANIONS | {found.path.name}), found)


def _tar(paths: list[Path], name: str, labels: Path | None) -> ImageDataset:
    """Shards; or the official archive as it comes, one tar of images without classes."""
    shards = TarShards(paths, name)
    if shards.label_kind != "none":
        return shards
    stems = {stem_of(identifier) for identifier in shards.ids}
    found = find_labels(paths[0].parent, stems) if labels is None else read_labels(labels, stems)
    return shards if found is None else WithLabels(shards, found)


def _cifar(path: Path, split: str) -> CifarArchive:
    return CifarArchive(path, "train" if split == "train" else "test")


def _named() -> str:
    return ", ".join(map(repr, DATASETS.names()))


def _joined(name: str, part: str) -> str:
    return f"{name}-{part}" if part else name
