"""Images with object masks: the ImageNet-Segmentation file, and folders of images and mask PNGs."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from xkd_eval.datasets.base import ImageDataset, Sample
from xkd_eval.datasets.decode import decode_mask, mask_from_values
from xkd_eval.datasets.folder import FolderOfImages, file_names, files_below, is_image_name
from xkd_eval.datasets.handles import PerProcess
from xkd_eval.errors import UnreadableImageError, XkdError

_EXPECTED = "expected gtsegs_ijcv.mat (MATLAB v7.3, HDF5) with /value/img and /value/gt"


class SegmentationMat(ImageDataset):
    """ImageNet-Segmentation (Guillaumin et al., IJCV 2014): `gtsegs_ijcv.mat`, or any file of that layout.

    `/value/img` (n, 1) refers to uint8 images stored (3, W, H); `/value/gt` (n, 1) to cells of references, the first of
    which is the mask (W, H). Ids are the positions in the file, "0000", "0001", ...; there are no labels.

    Raises:
        XkdError: not HDF5, truncated, or of another layout.
    """

    has_masks = True

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = "imagenet-segmentation" if path.stem == "gtsegs_ijcv" else path.stem
        count = _count_images(path)
        self.ids = [f"{position:04d}" for position in range(count)]
        self.labels = [None] * count
        self._file: PerProcess[Any] = PerProcess(partial(_open, path))

    def load(self, position: int) -> Sample:
        """Image and mask; raises UnreadableImageError where the file is damaged there."""
        file = self._file.get()
        try:
            pixels = file[file["value/img"][position, 0]][()]
            masks = file[file["value/gt"][position, 0]]
            mask = file[masks[(0,) * masks.ndim]][()]
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            raise UnreadableImageError(f"{self.ids[position]}: damaged in '{self.path.name}' ({error})") from error
        image = Image.fromarray(np.ascontiguousarray(pixels.T)).convert("RGB")
        return _checked(Sample(image, mask_from_values(mask.T, self.ids[position])), self.ids[position])


class MaskFolder(FolderOfImages):
    """Images with same-named mask PNGs: `images/a.jpg` and `masks/a.png`, or `a.jpg` beside `a.png`.

    An image without a mask is unreadable. Masks are read as `decode.decode_mask` says.
    """

    has_masks = True

    def __init__(self, root: Path, name: str) -> None:
        self._separate = (root / "images").is_dir()
        super().__init__(root, _images_to_mask(root, self._separate), name)

    def load(self, position: int) -> Sample:
        """Image and mask; raises UnreadableImageError where there is no mask, or one of another size."""
        identifier = self.ids[position]
        mask_path = Path(identifier).with_suffix(".png")
        if self._separate:
            mask_path = Path("masks", *mask_path.parts[1:])
        if not (self.root / mask_path).is_file():
            raise UnreadableImageError(f"{identifier}: no mask '{mask_path}'")
        mask = decode_mask(self.root / mask_path, str(mask_path))
        return _checked(Sample(self._image(position), mask), identifier)


def is_mask_folder(root: Path) -> bool:
    """Whether `root` has images/ and masks/, or an image beside a PNG of the same name."""
    if (root / "images").is_dir() and (root / "masks").is_dir():
        return True
    names = [name.rpartition(".") for name in file_names(root) if is_image_name(name)]
    masked = {stem for stem, _, suffix in names if suffix.lower() == "png"}
    return any(stem in masked for stem, _, suffix in names if suffix.lower() != "png")


def _images_to_mask(root: Path, separate: bool) -> list[str]:
    if separate:
        return list(files_below(root / "images", prefix="images"))
    return [name for name in file_names(root) if not name.lower().endswith(".png")]


def _open(path: Path) -> Any:
    import h5py

    try:
        return h5py.File(path, "r", locking="best-effort")
    except OSError as error:
        reason = "truncated" if "truncated" in str(error) else "not HDF5"
        raise XkdError(f"data: '{path}' is {reason} ({error}); {_EXPECTED}; fetch the file again") from error


def _count_images(path: Path) -> int:
    with _open(path) as file:
        if "value/img" not in file or "value/gt" not in file:
            raise XkdError(f"data: '{path}' holds {sorted(file)}; {_EXPECTED}")
        images, masks = file["value/img"], file["value/gt"]
        if images.shape != masks.shape or images.ndim != 2:
            raise XkdError(f"data: '{path}' has /value/img {images.shape} and /value/gt {masks.shape}; {_EXPECTED}")
        return images.shape[0]


def _checked(sample: Sample, identifier: str) -> Sample:
    assert sample.mask is not None
    height, width = sample.mask.shape
    if (width, height) != sample.image.size:
        found = "x".join(map(str, sample.image.size))
        raise UnreadableImageError(f"{identifier}: the mask is {width}x{height}, the image {found}")
    return sample
