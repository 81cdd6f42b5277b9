"""A sweep's file that tests change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.distill.conftest import KD, values_of


def sweep_file(tmp_path: Path, cifar10: Path, **changes: Any) -> Path:
    """A teacher and a student, two seeds each; `changes` are keys of the file."""
    variants = {
        "teacher": {"epochs": 3},  # until it is surely better than guessing
        "kd": {"teacher": {"recipe": str(tmp_path / "pairs.yaml") + ":teacher"}, "losses": KD},
    }
    (tmp_path / "pairs.yaml").write_text(yaml.safe_dump({"recipe": values_of(cifar10, epochs=1), "variants": variants}))
    content = {
        "recipes": [str(tmp_path / "pairs.yaml:{variant}")],
        "grid": {"variant": ["kd", "teacher"]},
        "seeds": [0, 1],
    }
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(content | changes))
    return tmp_path / "sweep.yaml"
