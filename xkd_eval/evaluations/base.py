"""Evaluation: a batch of photographs and maps -> one row an image; rows -> scores. Everything that a test knows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self

import numpy as np
from torch import Tensor

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.datasets.base import ImageDataset
from xkd_eval.errors import XkdError
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.explainers.base import Explainer
from xkd_eval.statistics.bootstrap import Score, scores_with_intervals

if TYPE_CHECKING:
    import pyarrow as pa
    from matplotlib.figure import Figure

    from xkd_eval.figures.curves import Curve

Columns = dict[str, np.ndarray]
"""One array a column, first axis the images: (B,) or, for lists, (B, n)."""

Role = Literal["headline", "shown", "compared", "detail"]
"""How much is made of a score: "headline" scores are spoken of in sentences, "shown" ones stand in every printed table,
"compared" ones in the tables of a comparison as data frames, "detail" ones in summary.json alone."""

_ROLES: tuple[Role, ...] = ("headline", "shown", "compared", "detail")


@dataclass(frozen=True)
class ScoreSpec:
    """One score: how it is computed, what it is called, and which direction is better.

    Attributes:
        name: dotted, as summary.json nests it ("positive.auc").
        title: as tables and sentences call it ("positive AUC").
        compute: the means of the test's columns -> (R,), or (R, n) for a curve; see `xkd_eval.statistics.bootstrap`.
        better: "higher", "lower", or None where neither is.
        unit: "%" for a fraction of 1 that is shown times 100, or "" for a number that is shown as it is.
        role: how much is made of it.
        per_image: rows -> (n,) values whose mean the score is, NaN where an image has none; booleans for hits. None for
            a score that is no mean over images, which then has an interval and no test.
        note: what a reader must know beside it.
        of_maps: whether it depends on the maps; the accuracy on clean images does not.
        where_right: whether it is computed once more on the images that every compared model classifies correctly.
        x: abscissa of a curve's n points; None for a number.
        area: name of the score that is the area under a curve.
    """

    name: str
    title: str
    compute: Score
    better: Literal["higher", "lower"] | None = None
    unit: Literal["%", ""] = "%"
    role: Role = "shown"
    per_image: Callable[[Columns], np.ndarray] | None = None
    note: str = ""
    of_maps: bool = True
    where_right: bool = False
    x: tuple[float, ...] | None = None
    area: str | None = None

    @property
    def scale(self) -> float:
        """What a value is multiplied by where it is shown."""
        return 100.0 if self.unit == "%" else 1.0

    @property
    def sign(self) -> int:
        """1 where higher is better, -1 where lower is, 0 where neither is."""
        return {"higher": 1, "lower": -1, None: 0}[self.better]

    @property
    def head(self) -> str:
        """The heading with an arrow towards better."""
        return f"{self.heading}{ {1: ' ↑', -1: ' ↓', 0: ''}[self.sign] }"

    @property
    def heading(self) -> str:
        """The title with a capital, but for those that are written otherwise ("mIoU")."""
        return self.title if self.title[1:2].isupper() else f"{self.title[0].upper()}{self.title[1:]}"

    def is_at_least(self, role: Role) -> bool:
        """Whether as much is made of it as of scores of that role."""
        return _ROLES.index(self.role) <= _ROLES.index(role)

    def of(self, summary: Mapping[str, Any]) -> Any:
        """Its entry in a summary: {"value", "ci95"}, or a list of these for a curve; None where it is absent."""
        found: Any = summary
        for key in self.name.split("."):
            if not isinstance(found, Mapping) or key not in found:
                return None
            found = found[key]
        return found


class Network(Protocol):
    """What a test may ask of the model again; every forward has one fixed shape, so a row depends on its image alone.

    Attributes:
        classifier: the network as it was made, on the device of the batch.
        chunk: images that one forward takes; a test that makes many images makes about so many at a time.
    """

    @property
    def classifier(self) -> Classifier: ...

    @property
    def chunk(self) -> int: ...

    def classify(self, images: Tensor) -> Tensor:
        """(n, 3, H, W) normalised, any n -> (n, K) float32 logits."""
        ...

    def explain(
        self, explainer: Explainer, images: Tensor, classes: Tensor, ids: Sequence[str], classifier: Classifier | None
    ) -> Tensor:
        """(n, 3, H, W) and (n,) classes -> (n, h, w) raw maps; of `classifier`, where it is given."""
        ...


@dataclass(frozen=True)
class Batch:
    """What a test sees of B photographs, everything on one device.

    Attributes:
        ids: B image ids.
        pixels: (B, 3, H, W) uint8 RGB at the model's input size.
        images: (B, 3, H, W) normalised.
        logits: (B, K) float32 of the clean images.
        target: (B,) int64, the class that `maps` explain.
        labels: (B,) int64, -1 where there is none.
        maps: (B, h, w) raw maps as the explainer returns them; None for a test that needs none.
        masks: (B, 224, 224) int8, 1 object, 0 background, -1 ignored; None for sets without masks.
        preprocess: that made `images` of `pixels`.
        network: the model, to be asked again.
        explainer: that made `maps`.
        reference: the same photographs as the reference model sees, classifies and explains them; None for tests that
            need no reference.
    """

    ids: tuple[str, ...]
    pixels: Tensor
    images: Tensor
    logits: Tensor
    target: Tensor
    labels: Tensor
    maps: Tensor | None
    masks: Tensor | None
    preprocess: Preprocess
    network: Network
    explainer: Explainer | None = None
    reference: Batch | None = None

    def required_maps(self) -> Tensor:
        """`maps`, for a test that needs them.

        Raises:
            XkdError: there are none.
        """
        if self.maps is None:
            raise XkdError("maps: the batch has none; the test says that it needs no maps")
        return self.maps

    def explain(self, images: Tensor, classes: Tensor, classifier: Classifier | None = None) -> Tensor:
        """Explain images that the test made, or a model that it changed, by the explainer of `maps`.

        Args:
            images: (n, 3, H, W) normalised; image i stands for the photograph i modulo B, whose id seeds what is
            random.
            classes: (n,) int64.
            classifier: instead of the network's own.

        Returns:
            (n, h, w) float32 raw maps.

        Raises:
            XkdError: the test needs no maps, so it has no explainer.
        """
        if self.explainer is None:
            raise XkdError("explainer: the batch has none; the test says that it needs no maps")
        ids = [self.ids[place % len(self.ids)] for place in range(len(images))]
        return self.network.explain(self.explainer, images, classes, ids, classifier)


@dataclass(frozen=True)
class NoOptions:
    """The options of a test that takes none."""


class Evaluation(ABC):
    """One test under one protocol. A subclass holds everything that is known of the test.

    Attributes:
        name: as commands, functions and directories call it.
        title: as a heading calls it.
        citation: authors, venue and year.
        needs_labels, needs_masks: what a data set must have.
        needs_maps: whether maps are scored; a test of the answers alone has no explainer.
        needs_reference: whether the rows hold the model against the reference, the first of the models. A boolean
            column "coarse" then says where a map was too coarse for the figures to say much.
        forwards_again: whether `rows` classifies or explains images of the test's own making.
        reads_answers: whether the rows depend on the model's answers; where they do not, models that see the same
            pixels share the rows of maps that do not depend on a model either.
        crosses: whether it is worth asking a model while another model's maps are scored (transfer).
        in_comparisons: whether `compare` runs it where the data has what it needs.
        about: what a reader of a report must know of its scores, in a sentence or two.
        curve_caption: what `curve_figure` shows.
        figure_names: of the figures that `figures` makes.
        Options: a frozen dataclass of what the test takes beside the rules that all tests share; its docstring's
            "Attributes" section is the help of the command line.
        protocol: the rules.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    citation: ClassVar[str]
    needs_labels: ClassVar[bool] = False
    needs_masks: ClassVar[bool] = False
    needs_maps: ClassVar[bool] = True
    needs_reference: ClassVar[bool] = False
    forwards_again: ClassVar[bool] = False
    reads_answers: ClassVar[bool] = True
    crosses: ClassVar[bool] = False
    in_comparisons: ClassVar[bool] = True
    about: ClassVar[str] = ""
    curve_caption: ClassVar[str] = ""
    figure_names: ClassVar[tuple[str, ...]] = ()
    Options: ClassVar[type] = NoOptions
    protocol: Rules

    @classmethod
    @abstractmethod
    def create(cls, rules: Rules, options: Any) -> Self:
        """The test under the shared rules and its own options.

        Raises:
            XkdError: an option's value is none that it takes.
        """

    @classmethod
    @abstractmethod
    def from_description(cls, protocol: Mapping[str, Any], settings: Mapping[str, Any]) -> Self:
        """The test of a run directory, to score its rows once more.

        Args:
            protocol: as protocol.json holds it.
            settings: what `settings` returned.
        """

    @abstractmethod
    def rows(self, batch: Batch) -> Columns:
        """Score each image by itself.

        Returns:
            Column -> (B,) or (B, n). "degenerate" is a boolean column of a test on maps: constant or not finite.
        """

    @abstractmethod
    def specs(self) -> tuple[ScoreSpec, ...]:
        """The scores, in the order in which they are shown."""

    def settings(self) -> dict[str, Any]:
        """Plain values that decide which columns there are, and change no value of a column."""
        return {}

    def images(self, dataset: ImageDataset) -> ImageDataset:
        """The photographs that are scored: the data set itself, or one that the test makes of it, as tiles of four."""
        return dataset

    def scored_size(self, preprocess: Preprocess) -> tuple[int, int]:
        """(H, W) to which maps are up-sampled before they are scored: the input's, unless the protocol says another."""
        return preprocess.size

    def columns(self, rows: Columns) -> Columns:
        """Finite values an image, whose means the scores are functions of: every boolean and float column."""
        return {name: values for name, values in rows.items() if values.dtype.kind in "bf"}

    def extras(self, rows: Columns) -> dict[str, Any]:
        """What a summary holds beside the scores, plain values."""
        return {}

    def notes(self, summary: Mapping[str, Any]) -> list[str]:
        """What a reader must know beside the scores, a sentence each."""
        return []

    def quality(self, rows: Columns) -> np.ndarray | None:
        """(n,) by which the best, median and worst maps of a run are pictured; higher is better, NaN undefined."""
        return None

    def curve_figure(self, curves: Mapping[str, Sequence[Curve]], num_classes: int | None) -> Figure | None:
        """A figure of the scores that are curves.

        Args:
            curves: name of the score -> one curve a model.
            num_classes: of all models, for the level of chance; None where they differ.
        """
        return None

    def figures(self, label: str, summary: Mapping[str, Any], rows: Columns) -> dict[str, Figure]:
        """Name -> figure of one finished run, for its directory.

        Args:
            label: what its curve is called.
            summary: as summary.json holds it.
            rows: of the images that were scored.
        """
        return {}

    def spec(self, name: str) -> ScoreSpec | None:
        """The score of that name."""
        return next((spec for spec in self.specs() if spec.name == name), None)

    def summarise(self, rows: Columns) -> dict[str, Any]:
        """Scores over all rows, each {"value", "ci95"} as fractions of 1, nested by their dotted names."""
        flat = scores_with_intervals(self.columns(rows), {spec.name: spec.compute for spec in self.specs()})
        nested: dict[str, Any] = {}
        for name, value in flat.items():
            *groups, last = name.split(".")
            place = nested
            for group in groups:
                place = place.setdefault(group, {})
            place[last] = value
        return {**nested, **self.extras(rows)}


def to_columns(table: pa.Table) -> Columns:
    """Rows of Arrow as arrays: lists become (B, n), columns without a single value are left out."""
    import pyarrow as pa

    columns = {}
    for name in table.column_names:
        column = table[name].combine_chunks()
        if column.null_count == len(column) > 0:
            continue
        if pa.types.is_list(column.type):
            columns[name] = column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)
        else:
            columns[name] = column.to_numpy(zero_copy_only=False)
    return columns
