"""Recipes that set every key between them, each of two epochs of three steps or more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from distill import store_answers
from distill.recipe.data import DeviceData, WorkerData
from distill.recipe.losses import WeightedMethod
from distill.recipe.networks import Student, Teacher
from distill.recipe.optimisation import AdamW, Constant, Cosine, Dot, MultiStep, OneCycle, Sgd, TimmOptimiser
from distill.recipe.schema import Recipe
from tests.distill.training.matrix import CLASSES, STUDENTS, loss_of, values_for
from xkd_eval.classifiers.sources import build_architecture

_PARTS: dict[str, tuple[type, ...]] = {
    "data": (DeviceData, WorkerData),
    "student": (Student,),
    "teacher": (Teacher,),
    "losses": (WeightedMethod,),
    "optimiser": (Sgd, AdamW, Dot, TimmOptimiser),
    "schedule": (Constant, MultiStep, Cosine, OneCycle),
}
LEFT_OUT = {
    "compile": "it needs a compiler",
    "sync_batch_norm": "it changes nothing in one process, and is refused on several CPUs",
    "imports": "a module's methods and networks are like any other",
    "optimiser.delta": "of an optimiser that several processes refuse",
    "teacher.engine": "engines are extras; test_teacher_engine.py",
    "teacher.precision": "not every processor multiplies bfloat16; test_teacher_precision.py",
    "teacher.recipe": "it names a run, whose student is a file like any other",
}
"""Keys that no combination sets, and why."""


def all_keys() -> set[str]:
    """Those that a recipe may hold, below its parts too, but for a method's own options."""
    below = {f"{part}.{key}" for part, kinds in _PARTS.items() for kind in kinds for key in kind.model_fields}
    return (set(Recipe.model_fields) - set(_PARTS)) | below


def keys_of(values: Mapping[str, Any]) -> Iterator[str]:
    """Those that a recipe of plain values sets; of a teacher among several as of one."""
    for key, value in values.items():
        if key == "teachers":
            yield key
        if key not in (*_PARTS, "teachers"):
            yield key
            continue
        part = "teacher" if key == "teachers" else key
        entries = value.values() if key == "teachers" else value if key == "losses" else [value]
        yield from (f"{part}.{below}" for entry in entries for below in entry)


def combinations(images: Path, teachers: Mapping[str, Path], folder: Path) -> dict[str, dict[str, Any]]:
    """Recipes as plain values, by name.

    Args:
        images: as `write_images` leaves them.
        teachers: as `write_teachers` does.
        folder: where files of weights are put.
    """
    teacher = teachers["resnet"]
    mixed = values_for("vit", [], images, teacher)
    mixed["data"] = {
        **{"loader": "device", "path": str(images), "padding": 2, "flip": True, "images": 23},
        **{"mixup": 0.8, "cutmix": 1.0, "colour_jitter": 0.4, "erasing": 0.3},
    }
    mixed["teachers"] = {name: {"model": str(file)} for name, file in teachers.items()}
    at = loss_of("at", name="maps", teacher="vit", ramp_epochs=2, weight=0.1)
    mixed["losses"] = [loss_of("ce"), loss_of("kd", schedule=[[0, 1], [1, 0.5]]), at]
    mixed["optimiser"] = {
        **{"name": "lamb", "learning_rate": 0.02, "betas": [0.8, 0.9], "eps": 1e-5, "weight_decay": 0.05},
        **{"decay": "matrices", "layer_decay": 0.7, "rates": {"head.*": 2.0}},
    }
    mixed["schedule"] = {"name": "cosine", "warmup_epochs": 0.5, "warmup_start": 0.1, "final": 0.1}
    mixed |= {"ema_decay": 0.9, "clip_norm": 1.0, "accumulate": 2, "precision": "fp16", "select_on_test": True}

    balanced = values_for("convnext", [], images, teacher)
    balanced["data"] = {
        **{"drop_last": True, "scaled_decoding": True},
        **{"loader": "workers", "workers": 0, "scale": [0.3, 1.0], "randaugment": "rand-m9-mstd0.5"},
        **{"path": str(images / "train"), "test_split": 0.25, "val_split": 0.1, "sampling": "balanced"},
    }
    balanced["student"] |= {"weights": _weights("convnext", folder, 2 * CLASSES), "freeze": ["stem", "stages.0"]}
    plain, arguments, _ = STUDENTS["plain"]
    balanced["teacher"] = {"model": plain, "weights": _weights("plain", folder, CLASSES), "arguments": arguments}
    balanced["teacher"] |= {"preprocess": {"size": [24, 24]}, "expected_top1": 100.0}
    balanced["losses"] = [loss_of("ce", class_weights="balanced"), loss_of("exp_kd", weight=10)]
    balanced["optimiser"] = {"name": "sgd", "learning_rate": 0.05, "momentum": 0.8, "nesterov": True}
    balanced["schedule"] = {"name": "multistep", "milestones": [0.5], "factor": 0.5}
    balanced |= {"gradient_checkpointing": True, "patience": 3, "channels_last": False, "seed": 3, "batch_size": 4}

    changing = values_for("resnet", [loss_of("tf_kd"), loss_of("fitnet", weight=0.1)], images, teacher)
    changing["optimiser"] = {"name": "adamw", "learning_rate": 0.01}
    changing["schedule"] = {"name": "onecycle", "rise": 0.5, "initial": 0.1}
    changing["ema_decay"] = 0.999  # an average of which batch norms are a part

    told = values_for("resnet", [loss_of("kd")], images, teacher)
    told["data"]["rounds"] = 2
    told["teacher"] |= {"stored": str(folder / "answers")}
    store_answers(told)
    found = {"mixed": mixed, "balanced": balanced, "changing": changing, "told": told}
    return {name: values | {"epochs": 2} for name, values in found.items()}


def _weights(student: str, folder: Path, classes: int) -> str:
    """A file of random weights."""
    architecture, arguments, _ = STUDENTS[student]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = build_architecture(architecture, {"num_classes": classes, **arguments}, "student")
    torch.save(network.state_dict(), folder / f"{student}.pth")
    return str(folder / f"{student}.pth")
