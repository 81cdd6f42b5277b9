"""Which reader a path is for, and which parts it is divided into: told by names and headers, with nothing opened."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from xkd_eval.datasets.base import ImageDataset
from xkd_eval.datasets.cifar import CifarArchive, is_cifar_folder
from xkd_eval.datasets.flat import (
    COMPANIONS,
    DEVKIT_TRUTH,
    KAGGLE_SOLUTION,
    find_labels,
    labelled,
    read_labels,
)
from xkd_eval.datasets.folder import (
    CIFAR_ARCHIVE,
    ClassFolders,
    FlatFolder,
    FolderOfImages,
    file_names,
    files_below,
    has_images,
    image_names,
    is_image_name,
    is_whole_set,
    subfolder_names,
)
from xkd_eval.datasets.identifiers import identifier_of, stem_of
from xkd_eval.datasets.imagenet import WordNetFolders, are_known_wordnet_ids, is_wordnet_id
from xkd_eval.datasets.lists import COLUMNS, ListedImages, is_list, read_list
from xkd_eval.datasets.parquet import ParquetImages
from xkd_eval.datasets.segmentation import MaskFolder, SegmentationMat, are_separate, is_mask_folder
from xkd_eval.datasets.shards import TarShards
from xkd_eval.datasets.splits import inner_folders, parts_of, plain_name, row_name, set_name
from xkd_eval.errors import XkdError
from xkd_eval.foreign import check_regular, reading, short

Layout = dict[str, Path | Callable[[], ImageDataset]]
"""What a path calls its parts -> what opens each, or the folder that holds it. UNDIVIDED and WRAPPED are no parts."""


@dataclass(frozen=True)
class Shards:
    """Files that are read as one data set.

    Attributes:
        reader: what opens them.
        paths: in order.
        name: of the set.
    """

    reader: Callable[[list[Path], str], ImageDataset]
    paths: list[Path]
    name: str

    def __call__(self) -> ImageDataset:
        """Open them."""
        return self.reader(self.paths, self.name)


UNDIVIDED = ""
"""All of a set that is not divided."""

WRAPPED = "data"
"""A folder in which whatever is not among the parts may lie."""

LOOKED_FOR = (
    "one folder per WordNet id of ImageNet (n01440764/...), and no other",
    f"a flat folder of images (ILSVRC2012_val_*.JPEG; with {KAGGLE_SOLUTION}, {DEVKIT_TRUTH} and meta.mat, or a "
    "NAME,class list it has labels; with NAME,class;class or COCO's JSON as `labels` several)",
    "Parquet with an image column (*.parquet)",
    f"a list of images (*.csv, *.tsv, *.parquet) with the columns {COLUMNS}",
    "WebDataset shards (*.tar)",
    "gtsegs_ijcv.mat",
    "images with same-named mask PNGs (images/ and masks/, or a.jpg beside a.png)",
    "the CIFAR python archives",
    "one folder per class",
    "val/, validation/ or test/ with any of these",
)

_TAR = re.compile(r"\.(tar|tar\.gz|tgz)$")


def layout_of(path: Path, labels: Path | None) -> Layout | None:
    """What lies at a path; None where no reader knows it.

    Args:
        path: of a folder or a file.
        labels: a label file for a flat folder of images; by default one is looked for beside it.

    Raises:
        XkdError: several layouts at once, or what cannot be looked at.
    """
    return _folder(path, labels) if path.is_dir() else _file(path, labels)


def layout_of_files(paths: Sequence[Path], labels: Path | None) -> Layout | None:
    """What several files are together: tar shards, or Parquet; of one or more parts. None where they are neither.

    Args:
        paths: in order, of files that were named one by one.
        labels: a label file for tar shards without classes.
    """
    names = [path.name.lower() for path in paths]
    reader: Callable[[list[Path], str], ImageDataset]
    if all(name.endswith(".parquet") for name in names):
        reader = ParquetImages
    elif all(map(_TAR.search, names)):
        reader = partial(_tar, labels=labels)
    else:
        return None
    parts = parts_of(paths)
    return {
        # What was named file by file is meant, whichever part it calls itself.
        part if len(parts) > 1 else UNDIVIDED: Shards(reader, files, plain_name(row_name(files[0])))
        for part, files in parts.items()
    }


def _file(path: Path, labels: Path | None) -> Layout | None:
    with reading(f"data: {str(path)!r} cannot be read", "expected a folder or a file"):
        check_regular(path)
    name = path.name.lower()
    if name.endswith(".mat"):
        return {UNDIVIDED: lambda: SegmentationMat(path)}
    if is_list(path):
        listed, name = read_list(path), plain_name(path.stem)
        return {
            part: partial(ListedImages, path, rows, listed.kind, _joined(name, part))
            for part, rows in listed.parts.items()
        }
    if name.endswith(".parquet"):
        return {UNDIVIDED: lambda: ParquetImages([path], plain_name(path.stem))}
    if CIFAR_ARCHIVE.fullmatch(name):
        return _cifar(path)
    if _TAR.search(name):
        return {UNDIVIDED: lambda: _tar([path], plain_name(path.stem), labels)}
    if is_image_name(name):
        return {UNDIVIDED: lambda: FolderOfImages(path.parent, [path.name], plain_name(path.stem))}
    return None


def _folder(root: Path, labels: Path | None) -> Layout | None:
    """By the first reader that knows the folder."""
    folders, files = subfolder_names(root), file_names(root)
    parquet = [file for file in files if file.lower().endswith(".parquet")]
    if is_cifar_folder(root):
        _check_alone(root, "CIFAR's files", folders, files)
        return _cifar(root)
    if _are_wordnet_folders(root, folders):
        _check_alone(root, "class folders", files=files)
        return {UNDIVIDED: lambda: WordNetFolders(root, list(filter(is_wordnet_id, folders)), set_name(root))}
    if parquet:
        _check_alone(root, "Parquet", folders, files)
        return _shards(root, parquet, ParquetImages)
    if is_mask_folder(root):
        separate = are_separate(root)
        others = [folder for folder in folders if not (separate and folder in ("images", "masks"))]
        _check_alone(root, "images with masks", others, files if separate else ())
        return {UNDIVIDED: lambda: MaskFolder(root, set_name(root))}
    if any(map(is_image_name, files)):
        _check_alone(root, "images", folders)
        return {UNDIVIDED: lambda: _flat(root, labels)}
    parts, wrapper = inner_folders(root, folders)
    if parts or wrapper:
        return {**parts, **({} if wrapper is None else {WRAPPED: wrapper})}
    archive = _archive_in(root, files, labels)
    if archive is not None:
        _check_alone(root, "archives", folders)
        return archive
    return {UNDIVIDED: lambda: ClassFolders(root, set_name(root))} if folders else None


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


def _archive_in(root: Path, files: list[str], labels: Path | None) -> Layout | None:
    """A data set that is one file, or a row of shards, in a folder of its own."""
    whole = [file for file in files if is_whole_set(file)]
    tars = [file for file in files if _TAR.search(file.lower()) and file not in whole]
    rows = {_row_of(file) for file in tars if file.lower().endswith(".tar")}
    # A compressed one of the same row is refused by the reader; it must not be left out.
    shards = [file for file in tars if _row_of(file) in rows]
    if len(whole) + bool(shards) > 1:
        found = " and ".join(map(short, [*whole, *shards][:2]))
        raise XkdError(f"data: {str(root)!r} holds several data sets ({found}); give the path of one")
    if whole:
        return _file(root / whole[0], labels)
    return _shards(root, shards, partial(_tar, labels=labels)) if shards else None


def _row_of(file: str) -> str:
    """What the shards of one row are all called, their numbers aside."""
    return re.sub(r"\d+", "0", _TAR.sub("", file.lower()))


def _shards(root: Path, files: list[str], reader: Callable[[list[Path], str], ImageDataset]) -> Layout:
    parts = parts_of([root / file for file in files])
    return {part: Shards(reader, paths, _joined(set_name(root), part)) for part, paths in parts.items()}


def _flat(root: Path, labels: Path | None) -> ImageDataset:
    stems = {stem_of(identifier_of(name)) for name in image_names(root)}
    found = find_labels(root, stems) if labels is None else read_labels(labels, stems)
    if found is None:
        return FlatFolder(root, set_name(root))
    return labelled(FlatFolder(root, set_name(root), exclude=COMPANIONS | {found.path.name}), found)


def _tar(paths: list[Path], name: str, labels: Path | None) -> ImageDataset:
    """Shards; or the official archive as it comes, one tar of images without classes."""
    shards = TarShards(paths, name)
    if shards.label_kind != "none":
        return shards
    stems = {stem_of(identifier) for identifier in shards.ids}
    found = find_labels(paths[0].parent, stems) if labels is None else read_labels(labels, stems)
    return shards if found is None else labelled(shards, found)


def _cifar(path: Path) -> Layout:
    return {part: partial(CifarArchive, path, part) for part in ("train", "test")}


def _joined(name: str, part: str) -> str:
    return f"{name}-{part}" if part else name
