"""Networks that are made by name: the CIFAR families of the distillation literature, and those of other packages."""

from __future__ import annotations

from xkd_eval.classifiers.architectures.named import (
    ARCHITECTURES,
    arguments_for_state_dict,
    build,
    layouts_of,
    names,
    register_architecture,
    shapes_of,
)
from xkd_eval.classifiers.architectures.spellings import layouts, refuse_unknown_names

__all__ = [
    "ARCHITECTURES",
    "arguments_for_state_dict",
    "build",
    "layouts",
    "layouts_of",
    "names",
    "refuse_unknown_names",
    "register_architecture",
    "shapes_of",
]
