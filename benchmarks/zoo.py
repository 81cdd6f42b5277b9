"""Every family of timm and torchvision: what is said to hold gives maps, and what is refused names what does.

    python -m benchmarks.zoo -o runs/zoo             # about an hour on two cores; the same command continues
    python -m benchmarks.zoo -o runs/zoo resnet vit  # families whose names begin so

Of each family the network with the fewest parameters is built with random weights, none of which is downloaded. It is
inspected at its own input size (224 pixels, where that is above 384 and any will do); each explainer that holds makes
a map of an image of the embedded set (with few masks or steps where a map takes many forwards), which has to be
finite, of more than one place in both directions, of the image's proportions, and not the same everywhere but where a
ReLU or DeepLIFT may make it so; each that is refused has to name explainers that hold. What is proven of the network
at birth may not be proven at another place once all its weights are of ordinary size, drawn anew. A line a network is
written to OUTPUT/zoo.jsonl, and the tables of docs/families.md to OUTPUT/zoo.md.
"""

from __future__ import annotations

import argparse
import json
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from xkd_eval import Preprocess, XkdError, create_explainer, load_classifier, open_dataset
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.conventions import timm_preprocess
from xkd_eval.classifiers.copies import copied
from xkd_eval.explainers import Context
from xkd_eval.explainers.inspection import Inspection, inspect_classifier

# Of methods that make many forwards an image, fewer: that they run and give maps is asked, not how good those are.
_FEWER = {
    "integrated_gradients": "integrated_gradients:steps=3",
    "gradient_shap": "gradient_shap:samples=3",
    "occlusion": "occlusion:windows=3,overlap=1",
    "feature_ablation": "feature_ablation:segments=8",
    "rise": "rise:masks=16",
}
_CHANNEL_BY_CHANNEL = ("scorecam", "ablationcam")
_MOST_CHANNELS = 256  # a forward each; above it the method is left out of the run, and counted
_MOST_SIDE, _SMALLER = 384, (224, 224)  # of the image, where the network takes any
_SMALL = 0.1  # of a gain or a bias, which hides what it scales
_MODEL_FREE = ("random", "centre", "edges", "fake_cam", "oracle")


def families() -> Iterator[tuple[str, str]]:
    """(family, network): of each the one with the fewest parameters, by building all of them without memory."""
    import timm
    from torchvision import models

    for family in timm.list_modules():
        if smallest := _smallest(timm.list_models(module=family), "timm"):
            yield f"timm {family}", smallest
    groups: dict[str, list[str]] = {}
    for name in models.list_models(module=models):
        groups.setdefault(models.get_model_builder(name).__module__.rpartition(".")[2], []).append(name)
    for family, names in groups.items():
        if smallest := _smallest(names, "torchvision"):
            yield f"torchvision {family}", smallest


def _smallest(names: list[str], library: str) -> str | None:
    sizes = {}
    for name in names:
        try:
            with torch.device("meta"):
                sizes[name] = sum(parameter.numel() for parameter in _build(library, name).parameters())
        except (RuntimeError, NotImplementedError, ValueError, TypeError, AssertionError):
            continue  # reads values where it is built
    smallest = min(sizes, key=sizes.__getitem__, default=names[0] if names else None)
    return None if smallest is None else f"{library}/{smallest}"


def _build(library: str, name: str) -> nn.Module:
    if library == "timm":
        import timm

        return timm.create_model(name, pretrained=False)
    from torchvision import models

    return models.get_model(name, weights=None)


@torch.no_grad()
def _with_answers(module: nn.Module, preprocess: Preprocess) -> nn.Module:
    """The module in eval mode, made to answer differently to different images, as no network at birth has to.

    Matrices of zeros are drawn, and batch norms measure images of the embedded set: deep networks lose the image on
    the way where their norms have seen none.
    """
    for parameter in module.parameters():
        if parameter.ndim > 1 and not bool(parameter.any()):
            parameter.normal_(0.0, _usual_size(parameter))
    norms = [one for one in module.eval().modules() if isinstance(one, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.train().momentum = None
    if norms:
        module(_images(preprocess, range(8)))
    return module.eval()


def _images(preprocess: Preprocess, places: Iterable[int]) -> torch.Tensor:
    embedded = open_dataset("embedded")
    return preprocess.normalise(torch.stack([preprocess.pixels(embedded.load(place).image) for place in places]))


@torch.no_grad()
def _grown(module: nn.Module) -> nn.Module:
    """A copy in which every layer counts: matrices as usually initialised, gains about one, all that is small drawn."""
    copy = copied(module)
    for parameter in copy.parameters():
        if parameter.ndim > 1 and _usual_size(parameter) < 1:
            parameter.normal_(0.0, _usual_size(parameter))
        else:
            small = parameter.abs() < _SMALL
            parameter.mul_(torch.empty_like(parameter).uniform_(0.5, 1.5))
            parameter[small] = torch.empty_like(parameter).normal_(0.0, 0.3)[small]
    return copy


def _usual_size(parameter: torch.Tensor) -> float:
    return float(parameter.shape[1:].numel() ** -0.5)


def visit(model: str) -> dict[str, Any]:
    """What became of one network, as plain values."""
    library, _, name = model.partition("/")
    torch.manual_seed(0)
    module = _build(library, name)
    found: dict[str, Any] = {"model": model, "parameters": sum(one.numel() for one in module.parameters())}
    try:
        preprocess = timm_preprocess(module)
        if preprocess.size[0] > _MOST_SIDE and not module.pretrained_cfg.get("fixed_input_size"):
            preprocess = replace(preprocess, size=_SMALLER)
        classifier = load_classifier(_with_answers(module, preprocess), size=preprocess.size)
    except XkdError as error:
        return {**found, "refused": str(error)}
    seen = inspect_classifier(classifier)
    found["size"] = list(seen.preprocess.size)
    found["cam"] = str(seen.head) if seen.head else None
    found["error"] = seen.head.proof_error if seen.head else None
    found["why"] = seen.head_refusal
    found["holds"] = [name for name in seen.explainers if name not in _MODEL_FREE]
    found["refusals"] = seen.refused
    found["faults"] = [*_wrong_maps(classifier, seen, found), *_wrong_alternatives(seen), *_moved(module, found)]
    return found


def _wrong_maps(classifier: Classifier, seen: Inspection, found: dict[str, Any]) -> Iterator[str]:
    preprocess = classifier.preprocess
    images = _images(preprocess, [3])
    with torch.no_grad():
        classes = classifier(images).argmax(1)
    height, width = preprocess.size
    found["left_out"] = []
    for name in found["holds"]:
        if name in _CHANNEL_BY_CHANNEL and _channels(classifier, images, classes) > _MOST_CHANNELS:
            found["left_out"].append(name)
            continue
        try:
            maps = create_explainer(_FEWER.get(name, name))(classifier, images, classes, Context(ids=("zoo",)))
        except XkdError as error:
            yield f"{name} holds, and fails: {error}"
            continue
        _, rows, columns = maps.shape
        if not bool(maps.isfinite().all()):
            yield f"{name} gives a map that is not finite"
        if min(rows, columns) < 2 or abs(rows * width - columns * height) > max(height, width):
            yield f"{name} gives a map of {rows}x{columns} for an image of {height}x{width}"
        if (
            name != "deeplift"
            and bool((maps == maps.flatten()[0]).all())
            and not getattr(create_explainer(name), "relu", False)
        ):
            yield f"{name} gives the same value everywhere"


def _channels(classifier: Classifier, images: torch.Tensor, classes: torch.Tensor) -> int:
    from xkd_eval.explainers.layers import activations, target_layer

    return activations(classifier, target_layer(classifier), images).shape[1]


def _wrong_alternatives(seen: Inspection) -> Iterator[str]:
    for name, reason in seen.refused.items():
        named = re.split(r", | or ", reason.rpartition("; use ")[2])
        if any(other not in seen.explainers for other in named):
            yield f"{name} is refused with {named}, of which one does not hold"


def _moved(module: nn.Module, found: dict[str, Any]) -> Iterator[str]:
    """A map at another place once weights have grown; that there is none any more is counted, and no fault."""
    grown = load_classifier(_grown(module), size=tuple(found["size"])).head
    found["grown"] = str(grown) if grown else None
    if grown and found["grown"] != found["cam"]:
        yield f"proven at birth: {found['cam']}; once its weights are of ordinary size: {found['grown']}"


def tables(rows: list[dict[str, Any]]) -> str:
    """The counts, then a line a network."""
    read = [row for row in rows if "refused" not in row]
    proven = [row for row in read if row["cam"] is not None]
    lines = [
        f"{len(rows)} networks: {len(read)} are read, {len(proven)} have a proven CAM, "
        f"{sum(row['grown'] == row['cam'] for row in proven)} of them at the same place once their weights have grown. "
        f"{sum(len(row['holds']) - len(row['left_out']) for row in read)} maps were made, "
        f"{sum(len(row['left_out']) for row in read)} left out for the forwards that they take, and "
        f"{sum(len(row['faults']) for row in read)} answers were wrong.",
        "",
        "| network | input | CAM | refused |",
        "|---|---|---|---|",
    ]
    for row in rows:
        if "refused" in row:
            lines.append(f"| {row['model']} | - | not read: {row['refused']} | |")
            continue
        cam = f"{row['cam']}, error {row['error']:.0e}" if row["cam"] else f"none: {row['why']}"
        refused = ", ".join(name for name in row["refusals"] if name != "cam")
        lines.append(f"| {row['model']} | {'x'.join(map(str, row['size']))} | {cam} | {refused} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/zoo"))
    parser.add_argument("families", nargs="*")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    given.output.mkdir(parents=True, exist_ok=True)
    listing, record = given.output / "families.json", given.output / "zoo.jsonl"
    if not listing.exists():
        listing.write_text(json.dumps(list(families())))
    rows = [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
    done = {row["model"] for row in rows}
    for family, model in json.loads(listing.read_text()):
        if model in done or (
            given.families and not any(family.partition(" ")[2].startswith(one) for one in given.families)
        ):
            continue
        row = {"family": family, **visit(model)}
        rows.append(row)
        with record.open("a") as file:
            file.write(json.dumps(row) + "\n")
        said = row.get("refused") or "; ".join(row["faults"]) or row["cam"] or row["why"]
        print(f"{family}: {model}: {said}", flush=True)
    (given.output / "zoo.md").write_text(tables(rows))


if __name__ == "__main__":
    main()
