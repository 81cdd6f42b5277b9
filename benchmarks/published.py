"""The published evaluation (Chefer et al., CVPR 2021), re-created from its description as the floor to be measured.

Two scripts: the first explains the images one by one and appends image, map and label to a gzip-compressed HDF5 file;
the second reads that file and, once a direction, blackens nine fractions of the pixels of 16 images at a time by top-k
and scatter, and classifies the copies. Float32, contiguous, nothing folded. The explanation is the class activation
map, which costs no backward pass: the cheapest that the published code could have been given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import h5py
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

FRACTIONS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
BATCH = 16

Normalise = Callable[[Tensor], Tensor]


@torch.no_grad()
def write_maps(
    model: nn.Module, normalise: Normalise, paths: Sequence[Path], labels: Sequence[int], file: Path
) -> None:
    """First script: one image at a time, three data sets that grow with it."""
    loader = DataLoader(_Photographs(paths, labels), batch_size=1)
    with h5py.File(file, "w") as store:
        columns = {
            "image": _column(store, "image", (3, 224, 224), np.float32),
            "map": _column(store, "map", (1, 224, 224), np.float32),
            "target": _column(store, "target", (), np.int32),
        }
        for image, target in loader:
            row = {"image": image, "map": _cam(model, normalise(image)), "target": target}
            for name, column in columns.items():
                column.resize(len(column) + 1, axis=0)
                column[-1:] = row[name].numpy()


@torch.no_grad()
def accuracy_curve(model: nn.Module, normalise: Normalise, file: Path, *, negative: bool) -> list[float]:
    """Second script, run once a direction: top-1 accuracy on the clean images and at each fraction."""
    hits: list[list[Tensor]] = [[] for _ in range(1 + len(FRACTIONS))]
    for images, maps, targets in DataLoader(_Stored(file), batch_size=BATCH):
        hits[0].append(_hits(model(normalise(images)), targets))
        flat = -maps.flatten(1) if negative else maps.flatten(1)
        for step, fraction in enumerate(FRACTIONS, start=1):
            masked = images.clone().flatten(2)
            removed = flat.topk(int(fraction * flat.shape[1])).indices
            masked.scatter_(2, removed[:, None].expand(-1, 3, -1), 0.0)
            hits[step].append(_hits(model(normalise(masked.view_as(images))), targets))
    return [float(torch.cat(step).float().mean()) for step in hits]


def _column(store: h5py.File, name: str, shape: tuple[int, ...], dtype: type) -> h5py.Dataset:
    return store.create_dataset(
        name, (0, *shape), maxshape=(None, *shape), chunks=(1, *shape), dtype=dtype, compression="gzip"
    )


def _cam(model: nn.Module, image: Tensor) -> Tensor:
    features: list[Tensor] = []
    handle = model.layer4.register_forward_hook(lambda module, inputs, output: features.append(output))
    logits = model(image)
    handle.remove()
    weight = model.fc.weight[logits.argmax(1)]
    maps = (features[0] * weight[:, :, None, None]).sum(1, keepdim=True)
    return F.interpolate(maps, size=(224, 224), mode="bilinear", align_corners=False)


def _hits(logits: Tensor, targets: Tensor) -> Tensor:
    # The scripts keep the probability beside the hit.
    return logits.softmax(1).argmax(1) == targets


class _Photographs(Dataset[tuple[Tensor, int]]):
    def __init__(self, paths: Sequence[Path], labels: Sequence[int]) -> None:
        self._paths, self._labels = paths, labels
        self._transform = transforms.Compose([transforms.Resize((224, 224)), transforms.ToTensor()])

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._transform(Image.open(self._paths[index]).convert("RGB")), self._labels[index]


class _Stored(Dataset[tuple[Tensor, Tensor, int]]):
    def __init__(self, file: Path) -> None:
        self._store = h5py.File(file)

    def __len__(self) -> int:
        return len(self._store["target"])

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, int]:
        image, saliency = (torch.from_numpy(self._store[name][index]) for name in ("image", "map"))
        return image, saliency, int(self._store["target"][index])
