"""Odd arguments of the library's own functions: input conventions and options."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st

from attacks.group import group, laid_out
from attacks.outcome import Found
from attacks.pictures import photograph
from attacks.structures import plain_values
from attacks.values import ValuesGroup
from xkd_eval import evaluate, load_classifier
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.datasets.embedded import EmbeddedDataset
from xkd_eval.study.options import RunOptions

_TAKEN: dict[str, tuple[Any, ...]] = {
    "limit": (1, 2),
    "size": (20, (16, 24)),
    "resize": ("crop",),
    "interpolation": ("bicubic",),
    "mean": (0.5, (0.1, 0.2, 0.3)),
    "std": (0.5, (0.1, 0.2, 0.3)),
    "channel_order": ("BGR",),
    "value_range": (255.0,),
    "crop_fraction": (0.5,),
    "batch_size": (1, 3),
    "seed": (1,),
    "strict": (True,),
    "overwrite": (True,),
    "precision": ("bf16",),
    "models_at_once": (1,),
    "tests": ("perturbation", ("perturbation", "segmentation")),
    "explainers": ("random", ("cam", "centre"), "gradcam"),
    "runs": ("kept",),
    "output": ("left",),
    "figures": (False,),
}
_FIELDS = tuple(Preprocess.__dataclass_fields__)
_LARGEST_SIDE = 256
"""Of an input that a network is asked for here: a larger one is taken, and takes its time."""


def _odd() -> st.SearchStrategy[Any]:
    """Odd values, as tuples, tensors, bytes and generators too."""
    others = st.sampled_from(
        ("tensor", "bytes", "generator", "path", "object", "type", "tuple", "set", "complex", "surrogate")
    )
    return st.one_of(plain_values(), plain_values(), others.map(_made))


class _Odd:
    """An object whose repr is a problem of its own."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def _made(kind: str) -> Any:
    return {
        "tensor": torch.ones(3),
        "bytes": b"\xff" * 8,
        "generator": range(3),
        "path": Path("nowhere"),
        "object": _Odd(),
        "type": int,
        "tuple": (32, 32),
        "set": frozenset({1}),
        "complex": 1j,
        "surrogate": "a\udc80",
    }[kind]


def _is_large(values: Any) -> bool:
    sides = values if isinstance(values, list | tuple) else (values,)
    return any(isinstance(side, int | float) and side > _LARGEST_SIDE for side in sides)


@group
class PreprocessFields(ValuesGroup):
    """An input convention that is taken gives finite pixels of the size that it says, and can be written as JSON."""

    name = "preprocess-fields"
    about = "input conventions of odd values, as arguments and as a checkpoint's"

    def prepare(self, folder: Path) -> None:
        self._classifier = load_classifier("embedded/kd", size=(16, 16))
        self._plain = Preprocess(size=(16, 16)).to_dict()
        for case in ("arguments", "document"):
            self.originals[case] = self.found(case, self._plain if case == "document" else {}, folder)

    def strategy(self) -> st.SearchStrategy[tuple[str, Any, str]]:
        odd = st.tuples(st.sampled_from((*_FIELDS, "sise", "")), _odd())
        taken = st.sampled_from([(name, value) for name in _FIELDS for value in _TAKEN[name]])
        pairs = st.one_of(
            odd.map(lambda pair: [pair]), st.tuples(odd, odd), st.tuples(taken, odd), st.tuples(taken, taken)
        )
        fields = pairs.map(dict).filter(lambda values: not _is_large(values.get("size")))
        return st.tuples(st.sampled_from(("arguments", "document")), fields).map(
            lambda found: (found[0], found[1], ", ".join(found[1]))
        )

    def found(self, case: str, values: Any, folder: Path) -> Found:
        if case == "document":
            preprocess = Preprocess.from_dict({**self._plain, **values})
        else:
            preprocess = load_classifier(self._classifier, **values).preprocess
        told = json.dumps(preprocess.to_dict(), allow_nan=False)
        pixels = preprocess.pixels(photograph())
        normalised = preprocess.normalise(pixels[None])
        if tuple(normalised.shape) != (1, 3, *preprocess.size) or not bool(torch.isfinite(normalised).all()):
            raise AssertionError(f"taken, and gives {tuple(normalised.shape)} or values that are not finite")
        if Preprocess.from_dict(json.loads(told)) != preprocess:
            raise AssertionError("written down as another")
        return Found({"pixels": normalised}, {"": told})


_OPTIONS = tuple(RunOptions.__dataclass_fields__)
_OF_TESTS = (
    "fractions",
    "fill",
    "direction",
    "threshold",
    "tests",
    "explainers",
    "masks",
    "runs",
    "progress",
    "nonsense",
)


@group
class Options(ValuesGroup):
    """One or two odd options, also beside ordinary ones, of an evaluation that runs where they are taken."""

    name, about = "options", "odd options of `evaluate`, which runs where they are taken"

    def prepare(self, folder: Path) -> None:
        self._classifier: Classifier = load_classifier("embedded/kd", size=(16, 16))
        self._images = EmbeddedDataset("test", size=2)
        with laid_out({}, folder / "original") as place:
            for case in ({"explainers": ("gradcam", "integrated_gradients:steps=2")}, {}):  # imports what they need
                self.originals["evaluate"] = self.found("evaluate", case, place)

    def strategy(self) -> st.SearchStrategy[tuple[str, Any, str]]:
        odd = st.tuples(st.sampled_from((*_OPTIONS, *_OF_TESTS, *_OF_TESTS)), _odd())
        taken = st.sampled_from([(name, value) for name, values in _TAKEN.items() for value in values])
        pairs = st.one_of(st.tuples(odd), st.tuples(taken, odd), st.tuples(odd, taken))
        return (
            pairs.map(dict)
            .filter(lambda values: not (_is_large(values.get("size")) or _starts_many(values)))
            .filter(lambda values: not callable(values.get("progress")))  # whatever that raises is the caller's
            .map(lambda values: ("evaluate", values, ", ".join(values)))
        )

    def found(self, case: str, values: Any, folder: Path) -> Found:
        given = {"tests": "segmentation", "device": "cpu", **values}
        study = evaluate(self._classifier, self._images, **given)
        results = study.results
        scores = {}
        for result in results:
            told = json.dumps(result.summary, allow_nan=False)
            name = f"{result.test_name} {result.maps}"
            scores[name] = {key: value for key, value in json.loads(told).items() if key != "images_per_second"}
        described = [json.dumps(result.description, allow_nan=False) for result in results]
        return Found({"scores": scores}, {"": described})


def _starts_many(values: dict[str, Any]) -> bool:
    workers = values.get("workers")
    return isinstance(workers, int) and not isinstance(workers, bool) and workers > 0
