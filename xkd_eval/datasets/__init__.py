"""Data sets: `open_dataset` recognises what a path holds, `loader.stream` decodes it."""

from xkd_eval.datasets.base import ImageDataset, Sample
from xkd_eval.datasets.labels import resolve_labels
from xkd_eval.datasets.open import open_dataset
from xkd_eval.datasets.sampling import limit

__all__ = ["ImageDataset", "Sample", "limit", "open_dataset", "resolve_labels"]
