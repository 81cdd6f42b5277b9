"""The tests of a comparison, each in a directory of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.comparison.subjects import Subject
from xkd_eval.datasets import ImageDataset
from xkd_eval.datasets.base import Subset
from xkd_eval.evaluate import perturbation_test, segmentation_test

FLOORS = ("random", "centre", "edges")
CEILING = "oracle"

_OF_REMOVAL = ("fill", "fractions")

Progress = Callable[[str, int, int], None]
"""Called with what is under way, the images done and the images in all."""


class Runs:
    """Every test that a comparison needs, run or continued.

    Args:
        place: where the directories go.
        classifiers: by label, the reference first.
        sets: "perturbation", and where there are masks "segmentation".
        explainer: of the models' own maps.
        floors: run the floors, and the ceiling where there are masks.
        options: of both tests.
        report: told while one runs.
    """

    def __init__(
        self,
        place: Path,
        classifiers: Mapping[str, Classifier],
        sets: Mapping[str, ImageDataset],
        explainer: str,
        floors: bool,
        options: dict[str, Any],
        report: Progress,
    ) -> None:
        self.classifiers = classifiers
        self.sets = sets
        self.explainer = explainer
        self.device = str(options.get("device", "auto"))
        self._place = place
        self._floors = floors
        self._options = options
        self._report = report
        self._done: dict[Path, Subject] = {}

    @property
    def reference(self) -> str:
        """The first model's label."""
        return next(iter(self.classifiers))

    def maps(self, label: str, explainer: str | None = None) -> Path:
        """Where the maps of the perturbation test's images lie: every model's own, and the reference's floors."""
        return self._folder(label) / f"maps-{explainer or self.explainer}"

    def own(self) -> list[Subject]:
        """Every test of every model on its own maps."""
        # A floor as the explainer keeps the maps of every model, unlike the floor beside another explainer.
        name = f"own-{self.explainer}" if self.explainer in (*FLOORS, CEILING) else self.explainer
        subjects = []
        for test in self.sets:
            for label in self.classifiers:
                keep: dict[str, Any] = {"save_maps": self.maps(label)} if test == "perturbation" else {}
                subjects.append(self._run(test, label, name, explainer=self.explainer, **keep))
        return subjects

    def floors(self) -> list[Subject]:
        """Every test of every model on maps that know nothing of it, and on the masks themselves."""
        return [
            self._floor(test, label, name)
            for test in self.sets
            for label in self.classifiers
            for name in self.floor_names(test)
        ]

    def floor_names(self, test: str) -> tuple[str, ...]:
        """The explainers that `floors` runs."""
        if not self._floors:
            return ()
        names = (*FLOORS, CEILING) if self.sets[test].has_masks else FLOORS
        return tuple(name for name in names if name != self.explainer)

    def crossed(self, ids: Sequence[str]) -> list[tuple[str, Subject]]:
        """Remove what the reference's maps mark and ask the others, and the reverse: (whose maps, whose answers).

        Args:
            ids: of the images that all models score, which alone have maps of all.
        """
        whole = self.sets["perturbation"]
        wanted = set(ids)
        places = [place for place, identifier in enumerate(whole.ids) if identifier in wanted]
        shared = whole if len(places) == len(whole) else Subset(whole, places)
        reference, *others = self.classifiers
        pairs = [pair for other in others for pair in ((reference, other), (other, reference))]
        crossed = []
        for source, label in pairs:
            name = f"{self.explainer}-of-{self._folder(source).name}"
            crossed.append((source, self._run("perturbation", label, name, images=shared, maps=self.maps(source))))
        return crossed

    def _floor(self, test: str, label: str, name: str) -> Subject:
        if test == "segmentation":
            # No answer of the model's enters: models that see the same pixels share the score.
            seen = self.classifiers[label].preprocess
            like = next(other for other, model in self.classifiers.items() if model.preprocess == seen)
            return replace(self._explained(test, like, name, keep=False), label=label)
        return self._explained(test, label, name, keep=label == self.reference)

    def _explained(self, test: str, label: str, explainer: str, *, keep: bool) -> Subject:
        changes: dict[str, Any] = {"save_maps": self.maps(label, explainer)} if keep else {}
        return self._run(test, label, explainer, explainer=explainer, **changes)

    def _run(self, test: str, label: str, name: str, images: ImageDataset | None = None, **changes: Any) -> Subject:
        place = self._folder(label) / f"{test}-{name}"
        if place not in self._done:
            run: Callable[..., Any] = perturbation_test if test == "perturbation" else segmentation_test
            # Where nothing is removed, these say nothing.
            unread = () if run is perturbation_test else _OF_REMOVAL
            options = {option: value for option, value in self._options.items() if option not in unread}
            run(
                self.classifiers[label],
                self.sets[test] if images is None else images,
                output=place,
                # The report has its own, of all models together.
                figures=False,
                progress=lambda done, total: self._report(f"{label}, {test}, {name}", done, total),
                **{**options, **changes},
            )
            self._done[place] = Subject.read(label, place)
        return self._done[place]

    def _folder(self, label: str) -> Path:
        """A label may hold any sign; where one cannot stand in a folder's name, a digest tells the labels apart."""
        safe = "".join(sign if sign.isalnum() or sign in "._-#() " else "_" for sign in label)
        if safe == label.strip(".") and 0 < len(label) < 100:
            return self._place / label
        return self._place / f"{safe[:100].strip('.')}-{hashlib.sha256(label.encode()).hexdigest()[:6]}"
