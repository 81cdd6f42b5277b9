"""Weights: our checkpoints and exports, which carry checksums, and what others write."""

from __future__ import annotations

import io
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st
from safetensors.torch import save
from torch import Tensor, nn

from attacks.group import BytesGroup, group
from attacks.mutants import Files
from attacks.outcome import Found
from attacks.pictures import CLASSES, photograph
from attacks.structures import mutated_documents
from attacks.values import ValuesGroup
from distill.students.export import export
from xkd_eval import load_classifier
from xkd_eval.classifiers.architectures import build
from xkd_eval.classifiers.checkpoint import Checkpoint, read_checkpoint, save_checkpoint
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.classifiers.weights.loading import load_weights

_ARCHITECTURE = "resnet8"
_ARGUMENTS = {"num_classes": 4, "widths": [2, 2, 3, 4]}
INPUT = Preprocess(size=(16, 16), mean=(0.4, 0.3, 0.2), std=(0.3, 0.2, 0.1), channel_order="BGR")


def small_network() -> nn.Module:
    """A ResNet-8 of a few channels."""
    torch.manual_seed(0)
    return build(_ARCHITECTURE, **_ARGUMENTS).eval()


def write_small_checkpoint(path: Path) -> Path:
    """A checkpoint of it with all that one may hold."""
    checkpoint = Checkpoint(
        architecture=_ARCHITECTURE,
        arguments=_ARGUMENTS,
        state_dict=small_network().state_dict(),
        preprocess=INPUT,
        class_names=CLASSES[:4],
        wordnet_ids=tuple(f"n{k:08d}" for k in range(4)),
        recipe={"epochs": 2, "optimiser": {"name": "sgd"}},
        metrics={"test_top1": 0.5},
        versions={"torch": "2.0"},
    )
    save_checkpoint(checkpoint, path)
    return path


def _network_found(network: nn.Module) -> Found:
    classifier = Classifier(network, INPUT, name="network", num_classes=4)
    return Found({"tensors": dict(network.state_dict())}, {"": classifier.digest()})


@group
class Checkpoints(BytesGroup):
    """student.pt: its tensors and all that stands beside them."""

    name, about = "checkpoints", "student.pt of this project"
    strict = True

    def cases(self, folder: Path) -> dict[str, Files]:
        return {"student": {"student.pt": write_small_checkpoint(folder / "student.pt").read_bytes()}}

    def found(self, case: str, folder: Path) -> Found:
        checkpoint = read_checkpoint(folder / "student.pt")
        values = {name: getattr(checkpoint, name) for name in checkpoint.__dataclass_fields__ if name != "preprocess"}
        return Found({**values, "preprocess": checkpoint.preprocess.to_dict()}, {"": None})


@group
class ForeignWeights(BytesGroup):
    """A state dict as it is found in the wild, loaded into its architecture. Zip archives carry checksums."""

    name, about = (
        "foreign-weights",
        "foreign weights: .pth as zip and as the legacy pickle, bare and wrapped, safetensors",
    )
    strict = frozenset({"zip", "zip-wrapped"})

    def cases(self, folder: Path) -> dict[str, Files]:
        state = OrderedDict(small_network().state_dict())
        wrapped = {"epoch": 3, "state_dict": {f"module.{name}": value for name, value in state.items()}, "arch": "x"}
        return {
            "zip": {"weights.pth": _saved(state)},
            "zip-wrapped": {"weights.pth": _saved(wrapped)},
            "legacy": {"weights.pth": _saved(state, legacy=True)},
            "legacy-wrapped": {"weights.pth": _saved(wrapped, legacy=True)},
            "safetensors": {"weights.safetensors": save(state)},
        }

    def found(self, case: str, folder: Path) -> Found:
        network = small_network()
        load_weights(network, folder / ("weights.safetensors" if case == "safetensors" else "weights.pth"))
        return _network_found(network)


@group
class Exports(BytesGroup):
    """What `xkd-distill export` writes carries a digest."""

    name, about = "exports", "safetensors that `xkd-distill export` writes"
    strict = True

    def cases(self, folder: Path) -> dict[str, Files]:
        output = folder / "student.safetensors"
        export(write_small_checkpoint(folder / "student.pt"), output)
        return {"student": {"student.safetensors": output.read_bytes()}}

    def found(self, case: str, folder: Path) -> Found:
        network = small_network()
        load_weights(network, folder / "student.safetensors")
        return _network_found(network)


@group
class CheckpointValues(ValuesGroup):
    """What stands beside the tensors; the free-form records of how the student came about are its own affair."""

    name, about = "checkpoint-values", "student.pt with values of other kinds, keys dropped and added"

    def prepare(self, folder: Path) -> None:
        content = torch.load(write_small_checkpoint(folder / "student.pt"), weights_only=True)
        self._tensors = content["state_dict"]
        self._content = {name: value for name, value in content.items() if name != "state_dict"}
        (folder / "student.pt").write_bytes(self.written("student", self._content)["student.pt"])
        self.originals["student"] = self.found("student", self._content, folder)

    def strategy(self) -> st.SearchStrategy[tuple[str, Any, str]]:
        # A tensor's place is taken by its name, and given back where it still stands.
        tensors = {name: f"tensor {name}" for name in list(self._tensors)[:4]}
        document = {**self._content, "state_dict": tensors}
        return mutated_documents(document, doubles=False).map(lambda found: ("student", *found))

    def written(self, case: str, values: Any) -> Files:
        if isinstance(values, dict):
            state = values.get("state_dict", {})
            others = {name: value for name, value in self._tensors.items() if name not in list(self._tensors)[:4]}
            if isinstance(state, dict):
                named = {name: self._restored(value) for name, value in state.items()}
                values = {**values, "state_dict": {**named, **others}}
            if values.keys() == {*self._content, "state_dict"} and values["state_dict"] == others:
                values = {**values, "state_dict": self._tensors}
        return {"student.pt": _saved(values)}

    def found(self, case: str, values: Any, folder: Path) -> Found:
        classifier = load_classifier(folder / "student.pt")
        pixels = classifier.preprocess.pixels(photograph())
        with torch.no_grad():
            logits = classifier(classifier.preprocess.normalise(pixels[None]))
        if not bool(torch.isfinite(logits).all()):
            raise AssertionError("logits that are not finite")
        described = (classifier.digest(), classifier.preprocess.to_dict(), classifier.num_classes)
        read = {
            "preprocess": classifier.preprocess.to_dict(),
            "class_names": classifier.class_names,
            "wordnet_ids": classifier.wordnet_ids,
            "tensors": dict(classifier.model.state_dict()),
            "logits": logits,
        }
        names = {name: read[name] for name in ("class_names", "wordnet_ids")}  # tables show them
        if not all(isinstance(text, str) for listed in names.values() for text in listed or ()):
            raise AssertionError("names that are no texts")
        return Found(read, {"": described, **names})

    def _restored(self, value: Any) -> Any:
        name = value.removeprefix("tensor ") if isinstance(value, str) else ""
        return self._tensors.get(name, value)


def _saved(content: Any, *, legacy: bool = False) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


assert Tensor
