"""model_card(): everything that a card is made of, and the card as files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from xkd_eval.arguments import Within, public
from xkd_eval.card.facts import Facts, facts_of
from xkd_eval.card.figures import overlay_figure, test_figures
from xkd_eval.card.metadata import LIBRARY, metadata
from xkd_eval.card.runs import results_in
from xkd_eval.card.scores import CardScore, scores_of
from xkd_eval.card.text import body
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.loading import load_classifier
from xkd_eval.errors import XkdError
from xkd_eval.evaluations.perturbation.test import PerturbationTest
from xkd_eval.figures.style import save_figure
from xkd_eval.files import check_output, replacing, writing
from xkd_eval.study.evaluate import evaluate
from xkd_eval.study.inputs import Data, open_data
from xkd_eval.study.options import PREPROCESS, RunOptions
from xkd_eval.study.result import EvaluationResult
from xkd_eval.study.stream import Progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURES = "card"
"""The folder of the pictures, beside the card."""

_UNCOMPUTED = (*PREPROCESS, "weights", "device", "limit", "seed", "labels", "class_map")
_COMPUTED = ("tests", "masks")


@dataclass(frozen=True)
class ModelCard:
    """A card that is not written yet.

    Attributes:
        name: of the model.
        text: the metadata and the body, as README.md holds them.
        scores: that it names.
        figures: file name -> picture that it shows, in the folder `card/` beside it.
        file: of the model; None where it has none of its own.

    Example:
        >>> from xkd_eval import model_card
        >>> card = model_card("embedded/kd", license="apache-2.0")
        >>> path = card.write("kd/README.md")
        >>> "pipeline_tag: image-classification" in path.read_text()
        True
    """

    name: str
    text: str
    scores: tuple[CardScore, ...] = ()
    figures: Mapping[str, Figure] = field(default_factory=dict)
    file: Path | None = None

    @public()
    def write(self, output: str | Path) -> Path:
        """Write the card, and its pictures into `card/` beside it.

        Args:
            output: the file; a former card there is replaced.

        Returns:
            The path.

        Raises:
            XkdError: a file that is no card of this package is there, or the place cannot be written.
        """
        path = Path(output)
        check_card_output(path, self.file)
        with writing(f"output: {str(path)!r}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            for name, figure in self.figures.items():
                save_figure(figure, path.parent / PICTURES / name)
            with replacing(path) as file:
                file.write(self.text.encode())
        return path


@public(models="model", explainer="explainers")
def model_card(
    model: str | Path,
    data: Data | None = None,
    *,
    runs: Sequence[str | Path] = (),
    tests: Sequence[str] = (),
    explainers: Sequence[str] = ("cam",),
    masks: Data | None = None,
    name: str | None = None,
    license: str | None = None,
    base_model: str | None = None,
    tags: Sequence[str] = (),
    repository: str | None = None,
    photographs: Annotated[int, Within(0, 100)] = 4,
    progress: Progress | None = None,
    **options: Any,
) -> ModelCard:
    """A model card for the Hugging Face hub, with scores, intervals and the rules behind them.

    Args:
        model: what `load_classifier` takes; of a checkpoint of this package the card says how it was trained, too.
        data: what the scores are computed on; beside `runs`, where photographs are taken from.
        runs: finished run directories of this model, or folders that hold some: nothing is computed.
        tests: by name, as for `evaluate`; by default the perturbation test.
        explainers: by name, as for `evaluate`; the first one's maps are shown.
        masks: images with masks, as for `evaluate`.
        name: of the model; by default the repository's, or the file's.
        license: the hub's identifier of one; nothing is said without it.
        base_model: the repository of the model that it was made of, where the recipe does not say it.
        tags: beside the card's own.
        repository: ORG/NAME, where it will lie on the hub.
        photographs: of `data`, shown with their maps; 0 for none.
        progress: as for `evaluate`.
        options: as for `evaluate`.

    Returns:
        The card.

    Raises:
        XkdError: bad input; a run of another model.

    Example:
        >>> from xkd_eval import model_card
        >>> card = model_card("embedded/kd", "embedded", limit=8, photographs=2)
        >>> "overlay.png" in card.figures, card.scores[0].spec.name
        (True, 'accuracy')
    """
    _check_what_is_read(data, runs, {"tests": tests, "masks": masks}, options)
    run = RunOptions(**{key: options[key] for key in _UNCOMPUTED if key in options})
    classifier = load_classifier(model, weights=run.weights_of(1)[0], **run.overrides)
    facts = facts_of(model, classifier)
    called = name or (repository.rpartition("/")[2] if repository else classifier.name)
    results: Sequence[EvaluationResult] = ()
    if runs:
        results = results_in([Path(path) for path in runs], classifier.digest())
    elif data is not None:
        chosen = list(tests) or [PerturbationTest.name]
        unread = {key: value for key, value in options.items() if key not in (*PREPROCESS, "weights")}
        study = evaluate(
            {called: classifier},
            data,
            explainers=list(explainers),
            tests=chosen,
            masks=masks,
            progress=progress,
            **unread,
        )
        results = study.results
    pictures = list(test_figures(results))
    if data is not None and photographs:
        pictures.append(_overlaid(classifier, data, run, photographs, list(explainers)))
    return _made(facts, scores_of(results), pictures, called, license, base_model, tags, repository)


def check_card_output(path: Path, file: Path | None = None) -> None:
    """Refuse, before the work for it, a place where no card can be written.

    Args:
        path: of the card.
        file: of the model.

    Raises:
        XkdError: the model's own file, or another one that is no card of this package.
    """
    check_output(path, [] if file is None else [file])
    if path.is_file() and f"library_name: {LIBRARY}".encode() not in path.read_bytes():
        raise XkdError(f"output: {str(path)!r} is there, and no card of this package; choose another name, or move it")


def _made(
    facts: Facts,
    scores: list[CardScore],
    pictures: list[tuple[str, str, Figure]],
    name: str,
    license: str | None,
    base_model: str | None,
    tags: Sequence[str],
    repository: str | None,
) -> ModelCard:
    head = metadata(facts, scores, name, license, base_model, tags)
    shown = [(f"{PICTURES}/{file}", caption) for file, caption, _ in pictures]
    text = f"---\n{head.to_yaml()}\n---\n\n{body(facts, scores, shown, name, repository)}"
    return ModelCard(name, text, tuple(scores), {file: figure for file, _, figure in pictures}, facts.file)


def _overlaid(
    classifier: Classifier, data: Data, run: RunOptions, count: int, explainers: list[str]
) -> tuple[str, str, Figure]:
    dataset = open_data(data, run, run.labels, run.boxes)
    return overlay_figure(classifier, dataset, count, explainers[0] if explainers else "cam", run.device)


def _check_what_is_read(
    data: Data | None, runs: Sequence[str | Path], computing: Mapping[str, Any], options: Mapping[str, Any]
) -> None:
    """Refuse what nothing would read: where no score is computed, what shapes scores."""
    if data is not None and not runs:
        return
    why = "the scores are those of `runs`" if runs else "no scores are computed without `data`"
    given = [name for name in _COMPUTED if computing[name]] + [name for name in options if name not in _UNCOMPUTED]
    if given:
        raise XkdError(f"{given[0]}: found, and {why}; leave it out")
