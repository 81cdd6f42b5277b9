"""Grids: photographs of a set as the tiles of larger images, each tile as a network takes the photograph alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from xkd_eval.bands import Bands, Picture, depth_of, picture_of
from xkd_eval.classifiers.preprocess import Preprocess, in_unit_range
from xkd_eval.datasets.base import ImageDataset, Sample, content_hash, hash_of

_JOINED = "+"


class Grids(ImageDataset):
    """Grids of `side` x `side` photographs, row by row; an id names the photographs.

    `stream` brings each photograph to the network's input and tiles the results: a view is (3, side H, side W).

    Args:
        dataset: of the photographs.
        side: photographs an edge.
        tiles: positions in `dataset`, side * side a grid.
        classes: model -> (n, side * side) class indices among the model's, of the tiles.
    """

    def __init__(
        self, dataset: ImageDataset, side: int, tiles: Sequence[Sequence[int]], classes: Mapping[str, np.ndarray]
    ) -> None:
        self.dataset, self.side, self.classes_of = dataset, side, dict(classes)
        self.tiles = [tuple(positions) for positions in tiles]
        self.name = f"{dataset.name}-{side}x{side}"
        self.ids = [_JOINED.join(dataset.ids[position] for position in positions) for positions in self.tiles]
        self.labels = [None] * len(self.ids)
        self.url = dataset.url

    def load(self, position: int) -> Sample:
        """The photographs of a grid side by side, each squashed to the size of the first."""
        samples = [self.dataset.load(place) for place in self.tiles[position]]
        image = _joined([sample.image for sample in samples], self.side)
        return Sample(image, None, hash_of_tiles([hash_of(sample) for sample in samples]))

    def content_hash(self, position: int) -> str:
        """Of the photographs' own."""
        return hash_of_tiles([self.dataset.content_hash(place) for place in self.tiles[position]])

    def stored_sizes(self, positions: Sequence[int] | None = None) -> list[int] | None:
        """Of all photographs of a grid together."""
        chosen = self.tiles if positions is None else [self.tiles[position] for position in positions]
        sizes = self.dataset.stored_sizes([place for tiles in chosen for place in tiles])
        if sizes is None:
            return None
        grids = np.asarray(sizes, dtype=np.int64).reshape(len(chosen), -1)
        return np.where((grids < 0).any(1), -1, grids.sum(1)).tolist()


def side_of(dataset: ImageDataset) -> int:
    """Photographs along the edge of an image of a set: 1 but for grids."""
    return dataset.side if isinstance(dataset, Grids) else 1


def tiled(views: Sequence[Tensor], side: int) -> Tensor:
    """side * side views (C, H, W), row by row -> (C, side H, side W)."""
    if len({view.dtype for view in views}) > 1:
        views = [in_unit_range(view) for view in views]
    rows = [torch.cat(list(views[start : start + side]), 2) for start in range(0, len(views), side)]
    return torch.cat(rows, 1)


def _joined(images: Sequence[Picture], side: int) -> Picture:
    """Images side by side, each squashed to the size of the first, and as deep."""
    depth = depth_of(images[0])
    alike = Preprocess(size=(images[0].height, images[0].width), mean=(0.0,) * depth, std=(1.0,) * depth)
    array = tiled([alike.pixels(image) for image in images], side).permute(1, 2, 0).contiguous().numpy()
    photographs = [image.photograph for image in images if isinstance(image, Bands) and image.photograph is not None]
    if len(photographs) < len(images):
        return picture_of(array)
    joined = _joined(photographs, side)
    return Bands(array, joined if isinstance(joined, Image.Image) else None)


def hash_of_tiles(hashes: Sequence[str]) -> str:
    """The content hash of a grid, of those of its photographs in order."""
    return content_hash(*(f"{found} ".encode() for found in hashes))
