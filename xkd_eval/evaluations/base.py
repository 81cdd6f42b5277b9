"""Evaluation: a batch of photographs and maps -> one row an image; rows -> scores. Everything that a test knows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.datasets.base import ImageDataset
from xkd_eval.errors import XkdError
from xkd_eval.evaluations.answers import Answers
from xkd_eval.evaluations.batch import Batch
from xkd_eval.evaluations.guard import guard_methods
from xkd_eval.evaluations.presets import Preset, preset_facts, preset_notes
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.evaluations.returned import named
from xkd_eval.evaluations.scores import PHOTOGRAPH, Columns, ScoreSpec, StoredColumns
from xkd_eval.statistics.bootstrap import clustered, scores_with_intervals

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from xkd_eval.figures.curves import Curve


NEEDS = ("labels", "masks", "boxes", "reference")
"""What a test may need of a study, each as `needs_NAME`."""

LABEL_SETS = "label sets"
"""What is offered beside these where photographs may hold several classes."""


@dataclass(frozen=True)
class NoOptions:
    """The options of a test that takes none."""


class Evaluation(ABC):
    """One test under one protocol. A subclass holds everything that is known of the test.

    Whoever calls a method of a subclass calls it through guard.py: what it raises is told in one line by the test's
    name, and what it returns is held to what is written here.

    Attributes:
        name: as commands, functions and directories call it.
        title: as a heading calls it.
        citation: authors, venue and year.
        question: what it asks, in one plain sentence; every test of this project has one.
        cost: forwards an image, the clean one included, as text: "2", "29 + 29"; E is an explanation.
        is_core: whether `--test core` has it, the set that a paper's table needs.
        needs_labels, needs_masks, needs_boxes: what a data set must have. The class says it of the test under its
            default options; a test that needs something else under others sets it of itself as it is made.
        needs_maps: whether maps are scored; a test of the answers alone has no explainer.
        needs_reference: whether the rows hold the model against the reference, the first of the models. A boolean
            column "coarse" then says where a map was too coarse for the figures to say much.
        shares_classes: whether the rows hold the model's answers against the reference's class by class, so that an
            index must mean the same class to both.
        forwards_again: whether `rows` classifies or explains images of the test's own making.
        explains_again: whether `rows` needs maps of other images, classes or networks than `maps` are of, which maps
            that were computed elsewhere cannot give.
        reads_answers: whether the rows depend on the model's answers; where they do not, models that see the same
            pixels share the rows of maps that do not depend on a model either.
        takes_label_sets: whether it means something where a photograph may hold several classes, each of which is
            explained: no prediction is right or wrong there, and `protocol.probability` is "sigmoid".
        crosses: whether it is worth asking a model while another model's maps are scored (transfer).
        columns_of_all: whether `columns` of an image depends on the others, so that it is asked of all rows at once
            and not of some thousand at a time.
        needs_all_images: whether `until` is nothing to it, since what follows is made of all of its rows.
        in_comparisons: whether `compare` runs it where the data has what it needs.
        about: what a reader of a report must know of its scores, in a sentence or two.
        curve_caption: what `curve_figure` shows.
        figure_names: of the figures that `figures` makes.
        presets: name -> the rules of a paper or tool, for a test that has such; a summary then says whose its rules
            are, and how they depart from the paper.
        Options: a frozen dataclass of what the test takes beside the rules that all tests share; its docstring's
            "Attributes" section is the help of the command line.
        Protocol: Rules, or the subclass that adds the test's own.
        protocol: the rules.

    Example:
        >>> import xkd_eval
        >>> class Confidence(xkd_eval.Evaluation):
        ...     name, title, citation, needs_maps = "confidence", "Confidence", "for the example", False
        ...     def rows(self, batch):
        ...         return {"confidence": batch.logits.softmax(1).amax(1).cpu().numpy()}
        ...     def specs(self):
        ...         return (xkd_eval.ScoreSpec("confidence", "confidence", lambda means: means["confidence"]),)
        >>> study = xkd_eval.evaluate("embedded/kd", tests=[Confidence], limit=4)
        >>> 0 < study.scores["value"].item() <= 1
        True
    """

    name: ClassVar[str]
    title: ClassVar[str]
    citation: ClassVar[str]
    question: ClassVar[str] = ""
    cost: ClassVar[str] = ""
    is_core: ClassVar[bool] = False
    needs_labels: bool = False
    needs_masks: bool = False
    needs_boxes: bool = False
    needs_maps: ClassVar[bool] = True
    needs_reference: ClassVar[bool] = False
    shares_classes: ClassVar[bool] = False
    forwards_again: ClassVar[bool] = False
    explains_again: ClassVar[bool] = False
    reads_answers: bool = True
    takes_label_sets: ClassVar[bool] = False
    crosses: ClassVar[bool] = False
    columns_of_all: bool = False
    needs_all_images: ClassVar[bool] = False
    in_comparisons: ClassVar[bool] = True
    about: str = ""
    curve_caption: str = ""
    figure_names: ClassVar[tuple[str, ...]] = ()
    presets: ClassVar[Mapping[str, Preset]] = {}
    Options: ClassVar[type] = NoOptions
    Protocol: ClassVar[type[Rules]] = Rules

    @classmethod
    def is_of_pairs(cls) -> bool:
        """Whether maps are held against the reference's, so that a row says nothing of a model alone."""
        return cls.needs_reference and cls.needs_maps

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        guard_methods(cls, Evaluation)

    def __init__(self, protocol: Rules) -> None:
        self.protocol = protocol

    @classmethod
    def create(cls, rules: Rules, options: Any) -> Self:
        """The test under the shared rules and its own options.

        Args:
            rules: that all tests share.
            options: of the class's `Options`.

        Raises:
            XkdError: an option's value is none that it takes.
        """
        return cls(cls.Protocol(**rules.shared()))

    @classmethod
    def suited(cls, offered: Collection[str]) -> str | None:
        """How it is spelt behind a name that stands for several tests, "core", on a study of these models and data.

        Args:
            offered: of "labels", "masks", "boxes" and "reference", what there is; and "label sets" where photographs
                may hold several classes, of which a test that does not take them is not asked.

        Returns:
            Its options ("regions=masks"), "" for its defaults; None where it lacks something that it needs.
        """
        return None if any(getattr(cls, f"needs_{need}") and need not in offered for need in NEEDS) else ""

    @classmethod
    def from_description(cls, protocol: Mapping[str, Any], settings: Mapping[str, Any]) -> Self:
        """The test of a run directory, to score its rows once more.

        Args:
            protocol: as protocol.json holds it.
            settings: what `settings` returned.
        """
        return cls(cls.Protocol.from_dict(protocol))

    @abstractmethod
    def rows(self, batch: Batch) -> Columns:
        """Score each image by itself.

        Args:
            batch: a copy for this call, which may write to it.

        Returns:
            Column -> (B,) or (B, n) NumPy array of booleans, integers or floats, or (B,) of texts; the same columns of
            the same types for every batch. "degenerate" is a boolean column of a test on maps: constant or not finite.
            Names of a study's own columns are refused.
        """

    @abstractmethod
    def specs(self) -> tuple[ScoreSpec, ...]:
        """The scores, in the order in which they are shown."""

    def settings(self) -> dict[str, Any]:
        """Plain values that decide which columns there are, and change no value of a column."""
        return {}

    def images(self, dataset: ImageDataset, answers: Answers) -> ImageDataset:
        """The photographs that are scored: the data set itself, or one that the test makes of it, as tiles of four.

        Args:
            dataset: as it was opened.
            answers: of the models to it, for a test that chooses by them; asking costs a pass over the data set.
        """
        return dataset

    def scored_size(self, preprocess: Preprocess) -> tuple[int, int]:
        """(H, W) to which maps are up-sampled before they are scored: the input's, unless the protocol says another."""
        return preprocess.size

    def columns(self, rows: Columns) -> Columns:
        """Finite values an image, whose means the scores are functions of: every boolean and float column."""
        return {name: values for name, values in rows.items() if values.dtype.kind in "bf"}

    def extras(self, rows: StoredColumns) -> dict[str, Any]:
        """What a summary holds beside the scores: plain values without NaN, under names that nothing else has."""
        return preset_facts(self.presets, self.protocol) if self.presets else {}

    def notes(self, summary: Mapping[str, Any]) -> list[str]:
        """What a reader must know beside the scores, a sentence each."""
        return preset_notes(summary) if self.presets else []

    def quality(self, rows: StoredColumns) -> np.ndarray | None:
        """(n,) by which the best, median and worst maps of a run are pictured; higher is better, NaN undefined."""
        return None

    def curve_figure(self, curves: Mapping[str, Sequence[Curve]], num_classes: int | None) -> Figure | None:
        """A figure of the scores that are curves.

        Args:
            curves: name of the score -> one curve a model.
            num_classes: of all models, for the level of chance; None where they differ.
        """
        return None

    def figures(self, name: str, summary: Mapping[str, Any], rows: StoredColumns) -> dict[str, Figure]:
        """Name -> figure of one finished run, for its directory.

        Args:
            name: what its curve is called.
            summary: as summary.json holds it.
            rows: of the images that were scored.
        """
        return {}

    def spec(self, name: str) -> ScoreSpec | None:
        """The score of that name."""
        return next((spec for spec in self.specs() if spec.name == name), None)

    def summarise(self, rows: Columns) -> dict[str, Any]:
        """Scores over all rows, each {"value", "ci95"} as fractions of 1, nested by their dotted names; and the extras.

        Raises:
            XkdError: no column that scores could be made of, or an extra with the name of a score.
        """
        return self.scores_of(clustered(self.columns(rows), rows.get(PHOTOGRAPH)), rows)

    def scores_of(self, columns: Mapping[str, np.ndarray], rows: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """As `summarise`.

        Args:
            columns: what `columns` returned, or sums of it; see `xkd_eval.statistics.bootstrap.clustered`.
            rows: of the images that were scored, for the extras.

        Raises:
            XkdError: as `summarise`.
        """
        scores = {spec.name: spec.compute for spec in self.specs()}
        if scores and not columns:
            raise XkdError(f"{named(self)}: it has scores and no boolean or float column; return one, or `columns`")
        flat = scores_with_intervals(columns, scores) if scores else {}
        nested: dict[str, Any] = {}
        for name, value in flat.items():
            *groups, last = name.split(".")
            place = nested
            for group in groups:
                place = place.setdefault(group, {})
            place[last] = value
        extras = self.extras(rows)
        if twice := nested.keys() & extras.keys():
            raise XkdError(f"{named(self)}: {min(twice)!r} is a score and one of its extras; choose another name")
        return {**nested, **extras}
