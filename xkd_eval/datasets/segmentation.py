"""Images with object masks: the ImageNet-Segmentation file, and folders of images and mask PNGs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from xkd_eval.datasets.base import ImageDataset, Sample, content_hash
from xkd_eval.datasets.decode import decode_image, decode_mask, mask_from_values, stored_bytes
from xkd_eval.datasets.folder import FolderOfImages, files_below, image_names, is_image_name, size_of
from xkd_eval.datasets.handles import SameFile
from xkd_eval.datasets.identifiers import name_of
from xkd_eval.datasets.mat73 import read_arrays, read_layout, read_size
from xkd_eval.datasets.splits import plain_name
from xkd_eval.errors import UnreadableImageError, XkdError
from xkd_eval.foreign import reading, short

_EXPECTED = "expected gtsegs_ijcv.mat (MATLAB v7.3, HDF5) with /value/img and /value/gt, whole"


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
        self.name = "imagenet-segmentation" if path.stem == "gtsegs_ijcv" else plain_name(path.stem)
        self._same = SameFile.of(path)
        count = _count_images(path)
        self.ids = [f"{position:04d}" for position in range(count)]
        self.labels = [None] * count

    def load(self, position: int) -> Sample:
        """Image and mask; raises UnreadableImageError where the file is damaged there, or holds something else."""
        identifier = self.ids[position]
        pixels, values = self._stored(position)
        with self._damaged(position):
            image = Image.fromarray(np.ascontiguousarray(pixels.T)).convert("RGB")
        mask = mask_from_values(values.T, identifier)
        return _checked(Sample(image, mask, content_hash(pixels, values)), identifier)

    def content_hash(self, position: int) -> str:
        """Of the arrays as they are stored."""
        return content_hash(*self._stored(position))

    def stored_sizes(self, positions: Sequence[int] | None = None) -> list[int] | None:
        """Of both arrays."""
        return [self._size(position) for position in (range(len(self)) if positions is None else positions)]

    def _stored(self, position: int) -> tuple[np.ndarray, np.ndarray]:
        self._same.check()
        with self._damaged(position):
            return read_arrays(self.path, position)

    def _size(self, position: int) -> int:
        try:
            with self._damaged(position):
                return read_size(self.path, position)
        except UnreadableImageError:
            return -1

    @contextmanager
    def _damaged(self, position: int) -> Iterator[None]:
        what = f"{self.ids[position]}: damaged in {self.path.name!r}"
        with reading(what, "fetch the file again", UnreadableImageError):
            yield


class MaskFolder(FolderOfImages):
    """Images with same-named mask PNGs: `images/a.jpg` and `masks/a.png`, or `a.jpg` beside `a.png`.

    An image without a mask is unreadable, and so is a PNG without an image that it could be the mask of. Masks are read
    as `decode.decode_mask` says.
    """

    has_masks = True

    def __init__(self, root: Path, name: str) -> None:
        self._separate = are_separate(root)
        super().__init__(root, _images_to_mask(root, self._separate), name)

    def load(self, position: int) -> Sample:
        """Image and mask; raises UnreadableImageError where there is no mask, or one of another size."""
        identifier = self.ids[position]
        content, mask_content = self._stored(position)
        image = decode_image(content, identifier)
        mask = decode_mask(mask_content, self._mask_identifier(position), image.size)
        return _checked(Sample(image, mask, content_hash(content, mask_content)), identifier)

    def content_hash(self, position: int) -> str:
        """Of both files' bytes."""
        return content_hash(*self._stored(position))

    def _stored(self, position: int) -> tuple[bytes, bytes]:
        identifier, mask = self.ids[position], self._mask_identifier(position)
        if mask == identifier or (self._separate and identifier.startswith("masks/")):
            raise UnreadableImageError(f"{identifier}: neither an image with a mask, nor the mask of an image")
        content = self._content(position)
        if size_of(self.root / name_of(mask)) < 0:
            raise UnreadableImageError(f"{identifier}: no mask {mask!r}")
        return content, stored_bytes(self.root / name_of(mask), mask)

    def _size(self, position: int) -> int:
        sizes = (super()._size(position), size_of(self.root / name_of(self._mask_identifier(position))))
        return -1 if -1 in sizes else sum(sizes)

    def _mask_identifier(self, position: int) -> str:
        return _mask_of(self.ids[position], self._separate)


def are_separate(root: Path) -> bool:
    """Whether images and masks have folders of their own."""
    return (root / "images").is_dir() and (root / "masks").is_dir()


def is_mask_folder(root: Path) -> bool:
    """Whether `root` has images/ and masks/, or an image beside a PNG of the same name."""
    if are_separate(root):
        return True
    names = [name.rpartition(".") for name in image_names(root) if is_image_name(name)]
    masked = {stem for stem, _, suffix in names if suffix.lower() == "png"}
    return any(stem in masked for stem, _, suffix in names if suffix.lower() != "png")


def _mask_of(name: str, separate: bool) -> str:
    folder, _, file = name.rpartition("/")
    masks = "masks" + folder.removeprefix("images").removeprefix("masks") if separate else folder
    return f"{masks}/{Path(file).stem}.png".removeprefix("/")


def _images_to_mask(root: Path, separate: bool) -> list[str]:
    """The images, and the PNGs that are no image's mask."""
    if separate:
        found = list(files_below(root / "images", prefix="images"))
        paired = {_mask_of(image, separate) for image in found}
        others = (name for name in files_below(root / "masks", prefix="masks") if name.lower().endswith(".png"))
        return [*found, *(name for name in others if name not in paired)]
    names = image_names(root)
    images = {name.rpartition(".")[0] for name in names if not name.lower().endswith(".png")}
    return [name for name in names if not name.lower().endswith(".png") or name[:-4] not in images]


def _count_images(path: Path) -> int:
    with reading(f"data: {str(path)!r} is truncated, damaged, or no HDF5", f"{_EXPECTED}; fetch the file again"):
        found = read_layout(path)
    if found.images is None or found.masks is None:
        raise XkdError(f"data: {str(path)!r} holds {short(found.names)}; {_EXPECTED}")
    shapes = f"/value/img {tuple(found.images)} and /value/gt {tuple(found.masks)}"
    if found.images != found.masks or len(found.images) != 2 or found.images[1] < 1:
        raise XkdError(f"data: {str(path)!r} has {shapes}; {_EXPECTED}")
    if not found.references:
        raise XkdError(f"data: {str(path)!r} has no references in {shapes}; {_EXPECTED}")
    if found.images[0] > path.stat().st_size:
        raise XkdError(f"data: {str(path)!r} has {shapes}, more than fit into the file; {_EXPECTED}")
    return found.images[0]


def _checked(sample: Sample, identifier: str) -> Sample:
    assert sample.mask is not None
    height, width = sample.mask.shape
    if (width, height) != sample.image.size:
        found = "x".join(map(str, sample.image.size))
        raise UnreadableImageError(f"{identifier}: the mask is {width}x{height}, the image {found}")
    return sample
