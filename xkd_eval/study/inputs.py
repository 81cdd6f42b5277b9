"""What a study works on: classifiers by name, data sets, and what follows from pairs of the two."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from xkd_eval.classifiers.class_names import read_class_map
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.loading import open_classifier
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.datasets import ImageDataset, limit, open_dataset, resolve_label_sets, resolve_labels
from xkd_eval.datasets.boxes import with_boxes
from xkd_eval.datasets.checks import checked
from xkd_eval.datasets.grids import Grids, side_of
from xkd_eval.engines.plan import TORCH, Plan, plan
from xkd_eval.engines.sizes import grid_input
from xkd_eval.errors import XkdError, renamed
from xkd_eval.evaluations.answers import Answers
from xkd_eval.evaluations.base import LABEL_SETS, Evaluation
from xkd_eval.evaluations.protocol import Rules, of_label_sets, shared_rules
from xkd_eval.foreign import short
from xkd_eval.study.models import NamedModel
from xkd_eval.study.options import RunOptions
from xkd_eval.study.words import check_words, shared_resize, told_under, words_of
from xkd_eval.wording import counted

Data = str | Path | ImageDataset
"""What `open_dataset` takes, or a data set."""


@dataclass
class StudyInputs:
    """Models and data of a study.

    Attributes:
        classifiers: by name, the reference first.
        rules: that all tests share.
        options: of the study.
    """

    classifiers: dict[str, Classifier]
    rules: Rules
    options: RunOptions
    _labels: dict[tuple[int, str], list[int | None]] = field(default_factory=dict)
    _held: dict[tuple[int, str], list[frozenset[int]]] = field(default_factory=dict)
    _refused: dict[tuple[int, str], XkdError] = field(default_factory=dict)
    _digests: dict[str, str] = field(default_factory=dict)
    _data_digests: dict[int, str] = field(default_factory=dict)
    _plans: dict[tuple[str, Preprocess, int, str], Plan] = field(default_factory=dict)

    @classmethod
    def load(cls, named: Sequence[NamedModel], options: RunOptions) -> StudyInputs:
        """Load the models.

        Raises:
            XkdError: whatever `load_classifier` and `shared_rules` refuse; options behind a model's name that the rules
                say otherwise for all models.
        """
        said = {entry.name: words_of(entry) for entry in named}
        overrides = options.overrides | shared_resize(said, options)
        rules = shared_rules(options.protocol, target=options.target or "predicted", overrides=overrides)
        # Under the named protocols the overrides are the protocol's, for every model; otherwise they correct the
        # model's.
        own = options.overrides if rules.name == "model" else {}
        files = options.weights_of(len(named))
        classifiers = {
            entry.name: open_classifier(entry.model, weights=weights, **own)
            for entry, weights in zip(named, files, strict=True)
        }
        for entry, weights in zip(named, files, strict=True):
            classifier = classifiers[entry.name]
            check_words(entry.name, said[entry.name], classifier.preprocess, rules)
            if not isinstance(entry.model, Classifier):  # of one it was told when it was loaded
                told_under(entry, classifier, weights, rules).tell()
        return cls(classifiers, rules, options)

    def suit(self, data: ImageDataset, masks: ImageDataset | None = None) -> None:
        """Take on the rules of photographs with several labels, where the data are such; before tests are made.

        Args:
            data, masks: as they were opened.

        Raises:
            XkdError: a target or a protocol by which another class is explained, or one of the two sets alone is such.
        """
        several = {dataset.label_sets is not None for dataset in (data, masks) if dataset is not None}
        if several == {False}:
            return
        if len(several) > 1:
            raise XkdError(
                "masks: of these and data, one has several labels a photograph and one has not, and a study has one "
                "rule which class is explained; evaluate them one after the other"
            )
        if self.options.target == "predicted":
            raise XkdError(
                f"target predicted: {data.name} has several labels a photograph, each of which is explained; leave it "
                "out"
            )
        self.rules = of_label_sets(self.rules)

    @property
    def reference(self) -> str:
        """The name of the first model."""
        return next(iter(self.classifiers))

    def preprocess(self, model: str) -> Preprocess:
        """The input convention under which a model is evaluated."""
        return self.rules.resolve(self.classifiers[model].preprocess)

    def input_of(self, dataset: ImageDataset, model: str) -> Preprocess:
        """The input convention under which a model sees a data set: `preprocess`, of grids at their size.

        Raises:
            XkdError: grids, which the model cannot be given; see `grid_input`.
        """
        return self.grid_input(model, dataset.side) if isinstance(dataset, Grids) else self.preprocess(model)

    def grid_input(self, model: str, side: int) -> Preprocess:
        """See `engines.sizes.grid_input`."""
        return grid_input(self.classifiers[model], self.preprocess(model), side)

    def plan(self, dataset: ImageDataset, model: str, device: torch.device, *, asked: bool = True) -> Plan:
        """How a model's forwards on a data set are run; see `engines.plan.plan`.

        Args:
            dataset: of photographs, or grids of them.
            model: its name.
            device: of the study.
            asked: whether a test makes images of these; where none does, no engine is chosen for them.
        """
        options, side = self.options, side_of(dataset)
        engine = options.engine if asked else TORCH
        key = (model, self.input_of(dataset, model), side, engine)
        if key not in self._plans:
            self._plans[key] = plan(self.classifiers[model], key[1], device, options.precision, engine, side)
        return self._plans[key]

    def digest(self, model: str) -> str:
        """See Classifier.digest."""
        if model not in self._digests:
            self._digests[model] = self.classifiers[model].digest()
        return self._digests[model]

    def data_digest(self, dataset: ImageDataset) -> str:
        """See ImageDataset.digest; taken once, since it looks at every file, and each cell of a study is described."""
        if id(dataset) not in self._data_digests:
            self._data_digests[id(dataset)] = dataset.digest()
        return self._data_digests[id(dataset)]

    def alike(self, model: str, among: Sequence[str] | None = None) -> str:
        """The first model that is given the same input as `model`: what no network enters is shared with it."""
        seen = self.preprocess(model)
        return next((other for other in among or self.classifiers if self.preprocess(other) == seen), model)

    def share_classes(self, model: str) -> bool:
        """Whether an index means the same class to a model and to the reference."""
        ours, theirs = self.classifiers[model], self.classifiers[self.reference]
        if ours.class_names is not None and theirs.class_names is not None:
            return ours.class_names == theirs.class_names
        return ours.num_classes == theirs.num_classes

    def labels(self, dataset: ImageDataset, model: str, *, required: bool) -> list[int | None]:
        """The class index of each image among a model's classes, None where there is none; of a grid the first tile's.

        Args:
            dataset: with raw labels.
            model: its name.
            required: whether a test reads them; elsewhere a set of other classes is no error.

        Raises:
            XkdError: they are required, and the set's classes are not the model's.
        """
        if isinstance(dataset, Grids):
            photographs = self.labels(dataset.dataset, model, required=required)
            return [photographs[tiles[0]] for tiles in dataset.tiles]
        key = (id(dataset), model)
        if key not in self._labels:
            class_map = self.options.class_map
            mapping = None if class_map is None else read_class_map(Path(class_map))
            try:
                self._labels[key] = resolve_labels(dataset, self.classifiers[model], mapping)
                if dataset.label_sets is not None:
                    self._held[key] = resolve_label_sets(dataset, self.classifiers[model], mapping)
            except XkdError as error:
                if mapping is not None:
                    raise
                self._labels[key], self._refused[key] = [None] * len(dataset), error
        if required and key in self._refused:
            raise self._refused[key]
        return self._labels[key]

    def held(self, dataset: ImageDataset, model: str) -> list[frozenset[int]] | None:
        """The class indices of all that each image's photograph holds; None for a set of one class a photograph.

        Raises:
            XkdError: the set's classes are not the model's.
        """
        if dataset.label_sets is None:
            return None
        self.labels(dataset, model, required=True)
        return self._held[id(dataset), model]

    def known_labels(self, dataset: ImageDataset, model: str, *, required: bool) -> list[Any]:
        """All that is known of classes, by which a run is told from others: see `labels`; of grids every tile's, and of
        photographs with several labels all of them."""
        if not isinstance(dataset, Grids):
            known, held = self.labels(dataset, model, required=required), self.held(dataset, model)
            return list(known) if held is None else [[*pair] for pair in zip(known, map(sorted, held), strict=True)]
        photographs = self.labels(dataset.dataset, model, required=required)
        return [photographs[place] for tiles in dataset.tiles for place in tiles]


def open_data(data: Data, options: RunOptions, labels: Path | None = None, boxes: Path | None = None) -> ImageDataset:
    """A data set, or a sample of it where `limit` says so.

    Args:
        data: what `open_dataset` takes, or a data set.
        options: of the study.
        labels: a file of labels for a flat image archive.
        boxes: a file of boxes, or a folder of them.
    """
    if not isinstance(data, str | Path | ImageDataset):
        raise XkdError(f"data: {short(data)} found; expected a path, the name of a data set or an ImageDataset")
    dataset = checked(data) if isinstance(data, ImageDataset) else open_dataset(data, labels=labels)
    if boxes is not None:
        dataset = with_boxes(dataset, boxes)
    return dataset if options.limit is None else limit(dataset, options.limit, options.seed)


def open_masks(masks: Data | None, options: RunOptions) -> ImageDataset | None:
    """The set of those tests that need masks, see `open_data`; None where it is the others' too.

    Raises:
        XkdError: whatever `open_data` refuses, named `masks`.
    """
    try:
        return None if masks is None else open_data(masks, options)
    except XkdError as error:
        raise XkdError(renamed(str(error), {"data": "masks"})) from None


def check_data(dataset: ImageDataset, test: Evaluation) -> None:
    """Raise XkdError where a data set lacks what a test needs."""
    if test.needs_masks and not dataset.has_masks:
        raise XkdError(
            f"data: {dataset.name} has no masks; {test.name} expects gtsegs_ijcv.mat, a folder of images with "
            "same-named mask PNGs or with COCO's JSON of outlined objects as `labels`, or 'embedded'"
        )
    if test.needs_boxes and not dataset.has_boxes:
        raise XkdError(f"data: {dataset.name} has no boxes; {test.name} scores against them: pass `boxes`")
    if dataset.label_sets is not None and not test.takes_label_sets:
        raise XkdError(
            f"tests {test.name}: it takes one label a photograph, and those of {dataset.name} have several; leave it "
            "out"
        )
    if dataset.label_kind != "none":
        return
    if test.needs_labels:
        # Sets of masks take no file of labels.
        remedy = "give a set with labels" if dataset.has_masks else "pass `labels`"
        raise XkdError(f"data: {dataset.name} has no labels; {test.name} scores against the true class: {remedy}")
    if test.protocol.target == "true":
        raise XkdError(f"target true: {dataset.name} has no labels; leave it out to explain the predicted class")


def offered(n_models: int, data: ImageDataset, masks: ImageDataset | None) -> set[str]:
    """Of `NEEDS`, what a study of these models and data has; "label sets" where photographs have several labels."""
    found = {
        "labels": data.label_kind != "none",
        "masks": data.has_masks or masks is not None,
        "boxes": data.has_boxes,
        "reference": n_models > 1,
        LABEL_SETS: data.label_sets is not None,
    }
    return {need for need, there in found.items() if there}


def unlabelled(dataset: ImageDataset) -> list[str]:
    """A sentence where photographs were left out for want of labels."""
    count = 0 if dataset.label_sets is None else dataset.label_sets.unlabelled
    return [f"left out of {dataset.name}, without a label: {counted(count, 'photograph')}"] if count else []


def sets_for(
    tests: Mapping[str, Evaluation],
    data: ImageDataset,
    masks: ImageDataset | None,
    answering: Callable[[ImageDataset], Answers],
    boxes: Path | None = None,
    optional: Collection[str] = (),
) -> tuple[dict[str, ImageDataset], list[str]]:
    """Test -> the data set that it scores: `masks` for those that need masks, where it is given, `data` for the others.

    Args:
        tests: by name.
        data: as it was opened.
        masks: the set of those tests that need masks.
        answering: the models' answers to a data set, for tests that make one of it.
        boxes: that `data` was given.
        optional: tests that are left out where they can make no data set of it, as long as another is not.

    Returns:
        The sets; and a sentence for each test that is left out.

    Raises:
        XkdError: a set lacks what its test needs, or masks or boxes that none needs; or whatever a test raises.
    """
    if boxes is not None and not any(test.needs_boxes for test in tests.values()):
        raise XkdError(f"boxes: none of the tests needs them ({', '.join(tests)}); leave it out")
    if masks is not None and not any(test.needs_masks for test in tests.values()):
        raise XkdError(f"masks: none of the tests needs them ({', '.join(tests)}); leave it out")
    chosen = {name: masks if test.needs_masks and masks is not None else data for name, test in tests.items()}
    for name, test in tests.items():
        check_data(chosen[name], test)
    answers = {id(dataset): answering(dataset) for dataset in chosen.values()}
    sets: dict[str, ImageDataset] = {}
    refused: dict[str, XkdError] = {}
    for name, test in tests.items():
        try:
            sets[name] = test.images(chosen[name], answers[id(chosen[name])])
        except XkdError as error:
            if name not in optional:
                raise
            refused[name] = error
    if not sets:
        raise next(iter(refused.values()))
    return sets, [f"{name} is left out: {error}" for name, error in refused.items()]
