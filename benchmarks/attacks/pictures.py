"""Images and masks, and all that an evaluation takes from a data set."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image
from torch import nn

from attacks.group import BytesGroup, group
from attacks.mutants import Files, with_png_checksums
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


def found_in(dataset: ImageDataset, classifier: Classifier, *, decode: bool = True, view: Preprocess = VIEW) -> Found:
    """All that an evaluation takes from a data set: ids, labels, pixels, masks; and what it keeps of them."""
    resolved = resolve_labels(dataset, classifier)
    values: dict[str, Any] = {"ids": dataset.ids, "labels": dataset.labels, "classes": dataset.classes}
    values["class indices"] = resolved
    identity: dict[str, Any] = {"": (dataset.digest(), resolved)}
    if decode:
        size = view.size if dataset.has_masks else None
        for item in stream(dataset, range(len(dataset)), view, mask_size=size):
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
    remarks = frozenset({"tiff", "tiff-lzw", "tiff-16"})  # libtiff's

    def cases(self, folder: Path) -> dict[str, Files]:
        return {name: {"cat/image.jpg": content} for name, content in _forms().items()}

    def found(self, case: str, folder: Path) -> Found:
        return found_in(open_dataset(folder), classifier_of())


@group
class Channels(BytesGroup):
    """One image of five channels in a class folder."""

    name, about = (
        "channels",
        "images of five channels: .npy of bytes and floats, .tif by samples, pages and tiles, deflated",
    )
    remarks = frozenset({"pages", "samples", "tiles", "deflated"})  # libtiff's

    def cases(self, folder: Path) -> dict[str, Files]:
        y, x = np.mgrid[:12, :16]
        planes = [128 + 100 * np.sin(0.3 * x + 0.2 * (k + 1) * y) for k in range(5)]
        last = np.stack(planes, 2).astype(np.uint8)
        first = np.ascontiguousarray(np.moveaxis(last, 2, 0))
        forms = {
            "bytes": _npy(last),
            "floats": _npy((last / 255).astype(np.float16)),
            "samples": _tif(last, planarconfig="contig"),
            "pages": _tif(first),
            "tiles": _tif(last, planarconfig="contig", tile=(16, 16)),
            "deflated": _tif(first, planarconfig="separate", compression="zlib", predictor=True),
        }
        suffix = {"bytes": "npy", "floats": "npy"}
        return {name: {f"cat/image.{suffix.get(name, 'tif')}": content} for name, content in forms.items()}

    def found(self, case: str, folder: Path) -> Found:
        view = Preprocess(size=VIEW.size, mean=(0.0,) * 5, std=(1.0,) * 5)
        return found_in(open_dataset(folder), classifier_of(), view=view)


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _tif(array: np.ndarray, **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, photometric="minisblack", metadata=None, **options)
    return buffer.getvalue()


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
