"""Files that ship with the package: what `xkd-distill train quickstart` makes."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

EMBEDDED = ("teacher", "plain", "kd", "cat_kd", "exp_kd")
"""The classifiers of the embedded data set, rows of the recipe file `quickstart`."""


def embedded_classifier_path(name: str = "teacher") -> Path:
    """The checkpoint of an embedded classifier.

    Args:
        name: one of EMBEDDED.
    """
    return Path(str(files(__name__) / f"{name}.pt"))
