"""Images, masks, and the files that hold many of them."""

from __future__ import annotations

import gzip
import io
import pickle
import random
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from torch import nn

from attacks.group import BytesGroup, Mutant, group
from attacks.mutants import Files, with_png_checksums, with_tar_checksums
from attacks.outcome import Found, Refused, digest
from xkd_eval import open_dataset
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.datasets import ImageDataset, resolve_labels
from xkd_eval.datasets.loader import Skipped, stream

VIEW = Preprocess(size=(24, 32))
CLASSES = ("cat", "dog", "owl", "ant", "bee", "cow", "elk", "fox", "gnu", "hen")


def classifier_of(classes: Sequence[str] = CLASSES, ids: Sequence[str] | None = None) -> Classifier:
    """What `resolve_labels` reads of a classifier."""
    wordnet_ids = None if ids is None else tuple(ids)
    names = tuple(classes) or None
    count = len(wordnet_ids or classes)
    return Classifier(
        nn.Identity(), VIEW, name="classifier", num_classes=count, class_names=names, wordnet_ids=wordnet_ids
    )


def found_in(dataset: ImageDataset, classifier: Classifier, *, decode: bool = True) -> Found:
    """All that an evaluation takes from a data set: ids, labels, pixels, masks; and what it keeps of them."""
    resolved = resolve_labels(dataset, classifier)
    values: dict[str, Any] = {"ids": dataset.ids, "labels": dataset.labels, "classes": dataset.classes}
    values["class indices"] = resolved
    identity: dict[str, Any] = {"": (dataset.digest(), resolved)}
    if decode:
        size = VIEW.size if dataset.has_masks else None
        for item in stream(dataset, range(len(dataset)), VIEW, mask_size=size):
            name = f"image[{item.position}]"
            if isinstance(item, Skipped):
                values[name] = Refused(item.reason)
            else:
                values[name] = digest((item.id, item.size, item.pixels, item.mask))
                identity[name] = (item.id, getattr(item, "content_hash", None))
    return Found(values, identity)


def photograph(seed: int = 0, height: int = 12, width: int = 16) -> Image.Image:
    """RGB, smooth and not constant."""
    y, x = np.mgrid[:height, :width]
    planes = [128 + 100 * np.sin(0.3 * x + 0.2 * (k + 1) * y + seed) for k in range(3)]
    return Image.fromarray(np.stack(planes, 2).astype(np.uint8))


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    """An image as the bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def _forms() -> dict[str, bytes]:
    photo = photograph()
    exif = Image.Exif()
    exif[0x0112] = 6
    deep = Image.fromarray(np.asarray(photo)[:, :, 0].astype(np.uint16) * 257)
    forms = {
        "avif": lambda: encoded(photo, "AVIF"),
        "bmp": lambda: encoded(photo, "BMP"),
        "gif": lambda: encoded(photo, "GIF"),
        "jp2": lambda: encoded(photo, "JPEG2000"),
        "jpeg": lambda: encoded(photo, "JPEG"),
        "jpeg-cmyk": lambda: encoded(photo.convert("CMYK"), "JPEG"),
        "jpeg-exif": lambda: encoded(photo, "JPEG", exif=exif),
        "jpeg-progressive": lambda: encoded(photo, "JPEG", progressive=True),
        "png": lambda: encoded(photo, "PNG"),
        "png-16": lambda: encoded(deep, "PNG"),
        "png-palette": lambda: encoded(photo.convert("P"), "PNG"),
        "png-rgba": lambda: encoded(photo.convert("RGBA"), "PNG"),
        "ppm": lambda: encoded(photo, "PPM"),
        "tiff": lambda: encoded(photo, "TIFF"),
        "tiff-lzw": lambda: encoded(photo, "TIFF", compression="tiff_lzw"),
        "tiff-16": lambda: encoded(deep, "TIFF"),
        "webp": lambda: encoded(photo, "WEBP"),
        "webp-lossless": lambda: encoded(photo, "WEBP", lossless=True),
    }
    found = {}
    for name, encode in forms.items():
        try:
            found[name] = encode()
        except (KeyError, OSError):  # this build of PIL does not write it
            continue
    return found


class _Pictures(BytesGroup):
    """PNGs among them get checksums that fit the damage in half of the cases."""

    def finished(self, case: str, files: Files, how: str, draw: random.Random) -> tuple[Files, str]:
        if "png" not in case or draw.random() < 0.5:
            return files, how
        mended = {name: with_png_checksums(content) for name, content in files.items() if content[1:4] == b"PNG"}
        return {**files, **mended}, f"{how}, with checksums that fit"


@group
class Images(_Pictures):
    """One image in a class folder."""

    name, about = "images", "single images: JPEG, PNG, 16 bits, palettes, GIF, BMP, TIFF, WebP, AVIF, JPEG 2000, PPM"

    def cases(self, folder: Path) -> dict[str, Files]:
        return {name: {"cat/image.jpg": content} for name, content in _forms().items()}

    def found(self, case: str, folder: Path) -> Found:
        return found_in(open_dataset(folder), classifier_of())


@group
class Masks(_Pictures):
    """A mask beside its image."""

    name, about = "masks", "mask PNGs of 1, 8 and 16 bits, palettes, RGB and alpha"
    rarely = frozenset({"images/a.png"})

    def cases(self, folder: Path) -> dict[str, Files]:
        values = np.zeros((12, 16), np.uint8)
        values[3:8, 4:11], values[0, :] = 1, 255
        grey = Image.fromarray(np.where(values == 1, 255, 0).astype(np.uint8))
        palette = Image.fromarray(values).convert("P")
        palette.putpalette(list(range(256)) * 3)
        masks = {
            "png-bits": grey.convert("1"),
            "png-bytes": grey,
            "png-ones": Image.fromarray(values),
            "png-palette": palette,
            "png-deep": Image.fromarray(values.astype(np.uint16) * 200),
            "png-rgb": grey.convert("RGB"),
            "png-alpha": grey.convert("LA"),
        }
        photo = encoded(photograph(), "PNG")
        return {name: {"images/a.png": photo, "masks/a.png": encoded(mask, "PNG")} for name, mask in masks.items()}

    def found(self, case: str, folder: Path) -> Found:
        return found_in(open_dataset(folder), classifier_of())


@group
class Tars(BytesGroup):
    """Shards of three images. An archive that is shorter and whole is another one; one that is cut is an error."""

    name, about = "tars", "tar shards with classes as indices and as names, and in two shards"

    def cases(self, folder: Path) -> dict[str, Files]:
        indices = _tar({f"{k}.{suffix}": content for k in range(3) for suffix, content in _member(k, str(k))})
        names = _tar({f"{k}.{suffix}": content for k in range(3) for suffix, content in _member(k, CLASSES[k])})
        bare = _tar({f"{k}.png": encoded(photograph(k), "PNG") for k in range(3)})
        parts = [_tar({f"{k}.{suffix}": content for suffix, content in _member(k, str(k))}) for k in range(2)]
        return {
            "indices": {"a.tar": indices},
            "names": {"a.tar": names},
            "bare": {"a.tar": bare},
            "two": {"a-0.tar": parts[0], "a-1.tar": parts[1]},
        }

    def finished(self, case: str, files: Files, how: str, draw: random.Random) -> tuple[Files, str]:
        if draw.random() < 0.6:
            return files, how
        return {name: with_tar_checksums(content) for name, content in files.items()}, f"{how}, with checksums that fit"

    def read(self, mutant: Mutant, folder: Path) -> Found:
        found, original = super().read(mutant, folder), self.originals[mutant.case]
        lost = set(original.values["ids"]) - set(found.values["ids"])
        if (
            lost
            and len(mutant.files) == len(self.files[mutant.case])
            and not all(map(_is_whole, mutant.files.values()))
        ):
            return Found(found.values, original.identity)
        return found

    def found(self, case: str, folder: Path) -> Found:
        files = sorted(folder.glob("*.tar*"))
        return found_in(open_dataset(files[0] if len(files) == 1 else folder), classifier_of())


@group
class Parquets(BytesGroup):
    """Sets as hubs write them."""

    name, about = "parquets", "Parquet sets: nested and plain columns, compressed, row groups, two shards"

    def cases(self, folder: Path) -> dict[str, Files]:
        hub = {"huggingface": '{"info": {"features": {"label": {"names": ["cat", "dog", "owl"]}}}}'}
        return {
            "hub": {"a.parquet": _parquet(range(4), metadata=hub, row_group_size=2)},
            "plain": {"a.parquet": _parquet(range(3), nested=False, compression="none")},
            "zstd": {"a.parquet": _parquet(range(3), compression="zstd", write_page_checksum=True)},
            "names": {"a.parquet": _parquet(range(3), labels=list(CLASSES[:3]), compression="none")},
            "two": {
                "val-00000-of-00002.parquet": _parquet(range(2)),
                "val-00001-of-00002.parquet": _parquet(range(2, 4)),
            },
        }

    def found(self, case: str, folder: Path) -> Found:
        return found_in(open_dataset(folder), classifier_of(CLASSES[:3] if case == "hub" else CLASSES))


@group
class Mats(BytesGroup):
    """The layout of gtsegs_ijcv.mat."""

    name, about = "mats", "ImageNet-Segmentation's v7.3 .mat, contiguous and compressed"

    def cases(self, folder: Path) -> dict[str, Files]:
        plain, packed = folder / "plain.mat", folder / "packed.mat"
        _write_mat(plain)
        _write_mat(packed, compression="gzip", shuffle=True, fletcher32=True)
        return {path.stem: {"gtsegs_ijcv.mat": path.read_bytes()} for path in (plain, packed)}

    def found(self, case: str, folder: Path) -> Found:
        return found_in(open_dataset(folder), classifier_of())


@group
class Cifars(BytesGroup):
    """The python archives, in folders and packed."""

    name, about = "cifars", "CIFAR-10 and -100 pickles in folders, and .tar.gz packed again after the damage"

    def cases(self, folder: Path) -> dict[str, Files]:
        ten = {
            "batches.meta": pickle.dumps({"label_names": list(CLASSES)}, protocol=2),
            "test_batch": pickle.dumps({b"data": _planes(3), b"labels": [1, 7, 4]}, protocol=2),
        }
        hundred = {
            "meta": pickle.dumps({"fine_label_names": [f"{name}{k}" for k in range(10) for name in CLASSES]}),
            "test": pickle.dumps({"data": _planes(2), "fine_labels": [99, 3]}),
        }
        packed = gzip.compress(_tar({f"cifar-10-batches-py/{name}": content for name, content in ten.items()}))
        return {
            "ten": {f"cifar-10-batches-py/{name}": content for name, content in ten.items()},
            "hundred": {f"cifar-100-python/{name}": content for name, content in hundred.items()},
            "packed": {"cifar-10-python.tar.gz": packed},
            "inside": {"cifar-10-python.tar": gzip.decompress(packed)},
        }

    def finished(self, case: str, files: Files, how: str, draw: random.Random) -> tuple[Files, str]:
        if case != "inside":
            return files, how
        return {
            f"{name}.gz": gzip.compress(content, mtime=0) for name, content in files.items()
        }, f"{how}, packed again"

    def found(self, case: str, folder: Path) -> Found:
        files = [path for path in sorted(folder.iterdir()) if path.name.startswith("cifar")]
        classes = [f"{name}{k}" for k in range(10) for name in CLASSES] if case == "hundred" else CLASSES
        return found_in(open_dataset(files[0] if files else folder), classifier_of(classes))


def _member(k: int, label: str) -> list[tuple[str, bytes]]:
    return [("jpg", encoded(photograph(k), "JPEG", quality=60)), ("cls", label.encode())]


def _tar(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    # Two blocks of zeros end an archive; the eighteen that follow here would take a third of all damage.
    return buffer.getvalue().rstrip(b"\0").ljust(_end_of(members), b"\0")


def _end_of(members: dict[str, bytes]) -> int:
    return sum(512 + -(-len(content) // 512) * 512 for content in members.values()) + 1024


def _is_whole(content: bytes) -> bool:
    """Whether the blocks of an archive follow one another to two blocks of zeros, with nothing behind them."""
    place = 0
    while block := content[place : place + 512]:
        if not any(block):
            return len(content) - place >= 1024 and not any(content[place:])
        try:
            member = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.TarError:
            return False
        place += 512 + -(-member.size // 512) * 512
    return False


def _parquet(
    numbers: Sequence[int],
    *,
    nested: bool = True,
    labels: list[Any] | None = None,
    metadata: Any = None,
    **options: Any,
) -> bytes:
    images = [encoded(photograph(k), "JPEG", quality=60) for k in numbers]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    column = (
        pa.array([{"bytes": content, "path": f"{k}.jpg"} for k, content in zip(numbers, images, strict=True)], kind)
        if nested
        else pa.array(images, pa.binary())
    )
    table = pa.table({"image": column, "label": labels or [k % 3 for k in numbers]}).replace_schema_metadata(metadata)
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **options)
    return buffer.getvalue()


def _write_mat(path: Path, **options: Any) -> None:
    """Column-major, by reference, the masks in cells."""
    with h5py.File(path, "w", userblock_size=512) as file:
        refs = file.create_group("#refs#")
        for name in ("img", "gt"):
            column = file.create_dataset(f"value/{name}", (2, 1), dtype=h5py.ref_dtype)
            for k in range(2):
                pixels = np.asarray(photograph(k))
                entry = pixels if name == "img" else (pixels[:, :, 0] > 128).astype(np.uint8)
                column[k, 0] = refs.create_dataset(f"{name}{k}", data=entry.T, **options).ref
                if name == "gt":
                    cell = refs.create_dataset(f"cell{k}", (1, 1), dtype=h5py.ref_dtype)
                    cell[0, 0] = column[k, 0]
                    column[k, 0] = cell.ref


def _planes(count: int) -> np.ndarray:
    """(N, 3072) uint8 of few different values, so that a pickle is small once it is packed."""
    images = [np.asarray(photograph(k, 32, 32)).transpose(2, 0, 1).reshape(-1) for k in range(count)]
    return np.stack(images)
