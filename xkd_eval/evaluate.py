"""The two tests as functions: names, paths or objects in; scores, rows and a run directory out."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

import pyarrow as pa
from torch import nn

from xkd_eval.classifiers.class_names import read_class_map
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.loading import load_classifier
from xkd_eval.datasets import ImageDataset, limit, open_dataset, resolve_labels
from xkd_eval.devices import process_state, resolve_device
from xkd_eval.errors import XkdError
from xkd_eval.evaluations.base import Evaluation
from xkd_eval.evaluations.perturbation import DIRECTIONS, Direction, PerturbationTest
from xkd_eval.evaluations.segmentation import SegmentationTest
from xkd_eval.explainers import Explainer, create_explainer
from xkd_eval.explainers.stored import StoredMaps
from xkd_eval.protocol import DEFAULT_FRACTIONS, Protocol, perturbation_protocol, segmentation_protocol
from xkd_eval.results import RunDirectory
from xkd_eval.runner import Job, Progress, Settings, check_continuable, run
from xkd_eval.summary import describe, summarise

Model = str | Path | nn.Module | Classifier
Data = str | Path | ImageDataset


class Options(TypedDict, total=False):
    """What both tests take beside the model and the data.

    Attributes:
        explainer: a name that `xkd-eval explainers` lists, or an Explainer; "cam" by default.
        maps: score the maps of this directory instead, one array an image id.
        save_maps: write the raw maps there as well.
        protocol: "model" (default), "chefer" or "exp-kd".
        target: the class to explain, "predicted" (default) or "true".
        weights: a file of weights for a timm or torchvision name.
        preprocess: Preprocess fields to override: size, resize, interpolation, mean, std, channel_order, value_range.
        labels: a file of labels for a flat image archive.
        class_map: a file that maps WordNet ids or class names to the model's class indices.
        output: the run directory; None keeps everything in memory.
        overwrite: start afresh in a directory that holds a run.
        figures: draw them into the run directory; True by default.
        device: "auto" (default), "cpu", "cuda", "cuda:1".
        precision: "fp32" (default) or "bf16".
        workers: processes that decode images; 0 decodes in this one; None (default) chooses by the set's size.
        batch_size: images read at a time, 32 by default; no result depends on it.
        seed: of the sample and of the explainers that draw at random; 0 by default.
        limit: evaluate a seeded, label-stratified sample of so many images.
        strict: an unreadable image is an error instead of being skipped and listed.
        progress: called with (images done, images in all).
    """

    explainer: str | Explainer
    maps: str | Path | None
    save_maps: str | Path | None
    protocol: str
    target: str
    weights: str | Path | None
    preprocess: dict[str, Any] | None
    labels: str | Path | None
    class_map: str | Path | None
    output: str | Path | None
    overwrite: bool
    figures: bool
    device: str
    precision: str
    workers: int | None
    batch_size: int
    seed: int
    limit: int | None
    strict: bool
    progress: Progress | None


@dataclass(frozen=True)
class EvaluationResult:
    """A finished test.

    Attributes:
        summary: as summary.json holds it; docs/summary.schema.json describes it.
        rows: one row an image in the data set's order, skipped ones included.
        directory: where all of it lies; None for a run kept in memory.
        continued: how many images the directory already held.
    """

    summary: dict[str, Any]
    rows: pa.Table
    directory: Path | None
    continued: int = 0


def perturbation_test(
    model: Model,
    data: Data = "embedded",
    *,
    fractions: tuple[float, ...] = DEFAULT_FRACTIONS,
    fill: str = "black",
    direction: Literal["both", "positive", "negative"] = "both",
    **options: Unpack[Options],
) -> EvaluationResult:
    """Positive and negative perturbation test (Chefer et al., CVPR 2021).

    Args:
        model: what `load_classifier` takes, or a Classifier.
        data: what `open_dataset` takes, or an ImageDataset. It must have labels.
        fractions: of the pixels, removed one after the other.
        fill: "black", "mean" or "blur".
        direction: remove the most relevant pixels first ("positive"), the least relevant ("negative"), or "both".
        options: see Options.

    Returns:
        The scores with 95 % intervals, and the rows.

    Raises:
        XkdError: bad input; the message names the argument.
    """
    if direction not in ("both", *DIRECTIONS):
        raise XkdError(f"direction: unknown value {direction!r}; expected both, positive or negative")
    protocol = perturbation_protocol(
        options.get("protocol", "model"),
        target=options.get("target", "predicted"),
        fractions=fractions,
        fill=fill,
        overrides=options.get("preprocess"),
    )
    directions: tuple[Direction, ...] = DIRECTIONS if direction == "both" else (direction,)
    test = PerturbationTest(protocol, directions)
    return _evaluate(model, data, test, {"directions": list(directions)}, options)


def segmentation_test(model: Model, data: Data = "embedded", **options: Unpack[Options]) -> EvaluationResult:
    """Segmentation test (Chefer et al., CVPR 2021) on images with one object mask each.

    Args:
        model: what `load_classifier` takes, or a Classifier.
        data: what `open_dataset` takes, or an ImageDataset. It must have masks.
        options: see Options.

    Returns:
        The scores with 95 % intervals, and the rows.

    Raises:
        XkdError: bad input; the message names the argument.
    """
    protocol = segmentation_protocol(
        options.get("protocol", "model"),
        target=options.get("target", "predicted"),
        overrides=options.get("preprocess"),
    )
    return _evaluate(model, data, SegmentationTest(protocol), {}, options)


def default_directory(test: str, description: dict[str, Any]) -> Path:
    """runs/TEST/MODEL-EXPLAINER-DATA-DIGEST: the same command finds its own directory, another one never does."""
    identity = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()[:8]
    words = (description["model"]["name"], description["explainer"]["name"], description["data"]["name"], identity)
    return Path("runs") / test / "-".join("".join(c if c.isalnum() or c in "._" else "_" for c in w) for w in words)


def _evaluate(
    model: Model, data: Data, test: Evaluation, test_settings: dict[str, Any], options: Options
) -> EvaluationResult:
    job = _job(model, data, test, options)
    settings = _settings(options, len(job.dataset))
    description = describe(job, test_settings, settings)
    output = options.get("output")
    if output is None:
        done = run(job, settings, None, options.get("progress"))
        return EvaluationResult(summarise(job, description, done), done.rows, None)
    path = default_directory(test.name, description) if output == "auto" else Path(output)
    state = process_state(settings.device)
    with state.main_process_first():
        overwrite = options.get("overwrite", False) and state.is_main_process
        directory = RunDirectory(path, description, overwrite=overwrite)
    rows, summary = directory.read_rows(), directory.summary
    continued = 0 if rows is None else rows.num_rows
    if rows is not None:
        check_continuable(rows, job, settings)
    if rows is None or summary is None:
        done = run(job, settings, directory, options.get("progress"))
        rows, summary = done.rows, summarise(job, description, done)
        if state.is_main_process:
            directory.write_summary(summary)
    if state.is_main_process and options.get("figures", True):
        from xkd_eval.run_figures import write_figures

        # After the summary, which a figure that fails must not cost.
        write_figures(path, job, summary, rows, settings.device)
    state.wait_for_everyone()
    return EvaluationResult(summary, rows, path, continued)


def _settings(options: Options, n_images: int) -> Settings:
    for name, least in (("batch_size", 1), ("workers", 0)):
        value = options.get(name)
        if value is not None and (not isinstance(value, int) or value < least):
            raise XkdError(f"{name}: got {value}; expected a whole number of at least {least}")
    workers = options.get("workers")
    if options.get("precision", "fp32") not in ("fp32", "bf16"):
        raise XkdError(f"precision: unknown value {options['precision']!r}; expected fp32 or bf16")
    return Settings(
        device=str(resolve_device(options.get("device", "auto"))),
        precision=options.get("precision", "fp32"),
        workers=_default_workers(n_images) if workers is None else workers,
        batch_size=options.get("batch_size", 32),
        strict=options.get("strict", False),
    )


def _default_workers(n_images: int) -> int:
    """None for what is decoded before a worker has started; else the cores but one, as the network needs it."""
    return 0 if n_images < 256 else min(8, max(1, (os.cpu_count() or 1) - 1))


def _job(model: Model, data: Data, test: Evaluation, options: Options) -> Job:
    overrides = dict(options.get("preprocess") or {})
    # Under the named protocols the overrides are the protocol's, for every model; otherwise they correct the model's.
    own = overrides if test.protocol.preprocess == "model" else {}
    classifier = load_classifier(model, weights=options.get("weights"), **own)
    dataset = _dataset(data, test, options)
    save_to = options.get("save_maps")
    explainer = _explainer(test.protocol, options)
    explainer.check(classifier)
    return Job(
        classifier=classifier,
        preprocess=test.protocol.resolve(classifier.preprocess),
        dataset=dataset,
        labels=_labels(dataset, classifier, test, options),
        explainer=explainer,
        evaluation=test,
        save_maps=None if save_to is None else Path(save_to),
    )


def _dataset(data: Data, test: Evaluation, options: Options) -> ImageDataset:
    labels = options.get("labels")
    file = None if labels is None else Path(labels)
    dataset = data if isinstance(data, ImageDataset) else open_dataset(str(data), labels=file)
    if test.needs_masks and not dataset.has_masks:
        raise XkdError(
            f"data: {dataset.name} has no masks; segmentation expects gtsegs_ijcv.mat, a folder of images with "
            "same-named mask PNGs, or 'embedded'"
        )
    if dataset.label_kind == "none" and (test.needs_labels or test.protocol.explained == "true"):
        raise _unlabelled(dataset, test)
    n_images = options.get("limit")
    return dataset if n_images is None else limit(dataset, n_images, options.get("seed", 0))


def _unlabelled(dataset: ImageDataset, test: Evaluation) -> XkdError:
    if not test.needs_labels:
        return XkdError(f"target true: {dataset.name} has no labels; leave it out to explain the predicted class")
    # Sets of masks take no `labels`.
    remedy = "give a set with labels" if dataset.has_masks else "pass `labels`"
    return XkdError(f"data: {dataset.name} has no labels; {test.name} scores against the true class: {remedy}")


def _labels(dataset: ImageDataset, classifier: Classifier, test: Evaluation, options: Options) -> list[int | None]:
    class_map = options.get("class_map")
    try:
        return resolve_labels(dataset, classifier, None if class_map is None else read_class_map(Path(class_map)))
    except XkdError:
        # Masks need no labels: a set of other classes is no error there.
        if test.needs_labels or test.protocol.explained == "true" or class_map is not None:
            raise
        return [None] * len(dataset)


def _explainer(protocol: Protocol, options: Options) -> Explainer:
    explainer, maps = options.get("explainer", "cam"), options.get("maps")
    if maps is not None:
        if explainer != "cam":
            raise XkdError("maps: scores maps computed elsewhere; it cannot be combined with `explainer`")
        return StoredMaps(Path(maps))
    if isinstance(explainer, Explainer):
        return explainer
    made = create_explainer(explainer, **({"reduction": protocol.cam_channels} if explainer == "cam" else {}))
    return made.seeded(options.get("seed", 0))
