"""Data sets: `open_dataset` recognises what a path holds, `loader.stream` decodes it."""

from xkd_eval.datasets.base import DATASETS, ImageDataset, Sample, register_dataset
from xkd_eval.datasets.labels import resolve_label_sets, resolve_labels
from xkd_eval.datasets.open import open_dataset, open_parts
from xkd_eval.datasets.sampling import limit

__all__ = [
    "DATASETS",
    "ImageDataset",
    "Sample",
    "limit",
    "open_dataset",
    "open_parts",
    "register_dataset",
    "resolve_label_sets",
    "resolve_labels",
]
