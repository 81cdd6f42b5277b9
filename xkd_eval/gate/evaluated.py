"""A side of a gate that is a model: evaluated beside the other one, or by the rules that the other's run records."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from xkd_eval.comparison.groups import ended_after
from xkd_eval.datasets import ImageDataset, limit
from xkd_eval.errors import XkdError
from xkd_eval.evaluations.base import Evaluation
from xkd_eval.evaluations.protocol import PROTOCOLS, Rules, of_label_sets, shared_rules
from xkd_eval.explainers import Explainer, create_explainer
from xkd_eval.explainers.stored import StoredMaps
from xkd_eval.foreign import printable
from xkd_eval.gate.margins import Margins, asked_scores
from xkd_eval.gate.recorded import plain_options, says_nothing
from xkd_eval.study.cells import NO_MAPS
from xkd_eval.study.choose import TestLike, compared_kinds, one_or_several, read_options, tests_of, without_core
from xkd_eval.study.evaluate import evaluate
from xkd_eval.study.inputs import Data, offered, open_data, open_masks
from xkd_eval.study.models import NamedModel
from xkd_eval.study.options import PREPROCESS, RunOptions
from xkd_eval.study.result import EvaluationResult, Study
from xkd_eval.study.stream import Progress
from xkd_eval.wording import counted

Results = dict[str, EvaluationResult]
"""Test -> one model's result."""

_OWN = ("maps", "save_maps", "figures", "output")
_OF_DATA = ("limit", "labels", "boxes")
_RULES = ("protocol", "target", "precision", "resize")


@dataclass(frozen=True)
class Asked:
    """What a model is evaluated on, as `check` takes it.

    Attributes:
        data, masks: what `open_dataset` takes, or data sets.
        tests: named by the user; None for the default ones.
        explainer: named by the user; None for the default one, or the record's.
        margins: which are refused before anything is computed.
        runs: where the runs of single cells lie.
        progress: called with what is under way.
        options: those of RunOptions, and of the tests.
    """

    data: Data
    masks: Data | None
    tests: TestLike | Sequence[TestLike] | None
    explainer: str | Explainer | None
    margins: Margins
    runs: str | Path | None
    progress: Progress | None
    options: Mapping[str, Any]

    def check_unread(self) -> None:
        """Raise XkdError for an option that a gate has no use for."""
        if unread := [name for name in _OWN if name in self.options]:
            raise XkdError(f"{unread[0]}: a gate has no use for it; leave it out")


def evaluated_together(
    named: Sequence[NamedModel], asked: Asked
) -> tuple[list[dict[str, EvaluationResult]], list[str]]:
    """Two models by the user's rules: test -> result of each, and a sentence for each test that is left out.

    By default the tests are those of a comparison that say something of a model alone.
    """
    asked.check_unread()
    given = None if asked.tests is None else one_or_several("tests", asked.tests, (str, type, Evaluation))
    beside = ("margins", "tests", "explainer", "masks", "runs", "progress")
    run, own = read_options(asked.options, compared_kinds() if given is None else given, beside)
    data, masks = _opened(asked, run)
    there = {*offered(1, data, masks), "labels"}
    tests: list[TestLike] = [*compared_kinds(there)] if given is None else given
    asked_scores(_made(tests, there, data, own), asked.margins)
    study = _evaluate({entry.name: entry.model for entry in named}, data, masks, tests, asked)
    left_out = [*study.left_out, *dict.fromkeys(says_nothing(r.test_name) for r in study.results if _is_of_pairs(r))]
    results: list[Results] = [{} for _ in named]
    for place, entry in enumerate(named):
        for result in study.results:
            if result.model == entry.name and not _is_of_pairs(result):
                results[place][result.test_name] = result
    return results, left_out


def evaluated_alike(named: NamedModel, recorded: Results, asked: Asked, argument: str) -> Results:
    """A model by the rules, and on the images, of the other side's runs: test -> result.

    Args:
        named: the model.
        recorded: test -> the other side's run.
        asked: what the user says of data and the model's input.
        argument: that named the other side, for the messages.

    Raises:
        XkdError: an option that the runs say, rules or maps that cannot be derived of them, or other images.
    """
    asked.check_unread()
    if asked.tests is not None:
        raise XkdError(f"tests: those of {argument}'s run directory are asked about; leave it out")
    if early := [ended for result in recorded.values() if (ended := ended_after(result))]:
        raise XkdError(
            f"{argument}: its run directory ended after {early[0][0]:,} images (`until`); give both models, so that "
            "they end on the same ones"
        )
    taken = {field.name for field in fields(RunOptions)} - set(_RULES)
    if unread := [name for name in asked.options if name not in taken]:
        raise XkdError(f"{unread[0]}: the run directory of `{argument}` says it; leave it out")
    results = list(recorded.values())
    rules = _rules_of(results, argument)
    explainer = _explainer_of(results, argument)
    asked_scores({name: result.test for name, result in recorded.items()}, asked.margins)
    run, _ = read_options(asked.options, ())
    derived = _options_of(rules, asked.options, argument)
    # Tests that make no images are fp32 whatever was asked for.
    if fast := {result.description["precision"] for result in results} - {"fp32"}:
        if len(fast) > 1:
            raise XkdError(f"{argument}: its runs are in {' and '.join(sorted(fast))}; give those of one precision")
        derived["precision"] = fast.pop()
    data, masks = _opened(asked, run)
    data, masks = _as_many(data, results, run), None if masks is None else _as_many(masks, results, run)
    digests = {id(dataset): dataset.digest() for dataset in (data, masks) if dataset is not None}
    for result in results:
        dataset = masks if result.test.needs_masks and masks is not None else data
        _check_images(result, dataset, digests[id(dataset)], argument)
    again = replace(asked, explainer=explainer, options={**asked.options, **derived})
    study = _evaluate({named.name: named.model}, data, masks, [result.test for result in results], again)
    return {result.test.name: result for result in study.results}


def _evaluate(
    models: Mapping[str, Any], data: ImageDataset, masks: ImageDataset | None, tests: Sequence[TestLike], asked: Asked
) -> Study:
    options = {name: value for name, value in asked.options.items() if name not in _OF_DATA}
    return evaluate(
        dict(models),
        data,
        explainers=[asked.explainer or "cam"],
        tests=list(tests),
        masks=masks,
        runs=asked.runs,
        progress=asked.progress,
        **options,
    )


def _made(
    tests: Sequence[TestLike], there: Collection[str], data: ImageDataset, own: Mapping[str, Any]
) -> dict[str, Evaluation]:
    """The tests that say something of a model alone, as they will be run but for the rules that all share."""
    rules = Rules() if data.label_sets is None else of_label_sets(Rules())
    made = [test for test in tests if isinstance(test, Evaluation)]
    named, _ = without_core([test for test in tests if not isinstance(test, Evaluation)], there)
    found = {test.name: test for test in made} | (tests_of(named, rules, own) if named else {})
    alone = {name: test for name, test in found.items() if not test.needs_reference}
    if found and not alone:
        raise XkdError(f"tests: {'; '.join(map(says_nothing, found))}; name another")
    return alone


def _opened(asked: Asked, run: RunOptions) -> tuple[ImageDataset, ImageDataset | None]:
    return open_data(asked.data, run, run.labels, run.boxes), open_masks(asked.masks, run)


def _is_of_pairs(result: EvaluationResult) -> bool:
    return result.test.needs_reference


def _rules_of(results: Sequence[EvaluationResult], argument: str) -> Rules:
    """The rules that all tests of the runs share."""
    first = Rules(**results[0].test.protocol.shared())
    for result in results[1:]:
        if _without_name(Rules(**result.test.protocol.shared())) != _without_name(first):
            raise XkdError(
                f"{argument}: its runs of {results[0].test.name} and {result.test.name} are of other rules "
                f"({first.name} and {result.test.protocol.name}); give a run directory of one test"
            )
    return first


def _options_of(rules: Rules, given: Mapping[str, Any], argument: str) -> dict[str, Any]:
    """The options that these rules come of.

    Raises:
        XkdError: none do, or the user corrects an input that is the rules'.
    """
    name = rules.name.partition("+")[0]
    found: dict[str, Any] = {"protocol": name}
    if rules.probability == "softmax":  # of photographs with several labels each is explained, whatever is asked for
        found["target"] = rules.target
    if name in PROTOCOLS:
        usual = shared_rules(name).preprocess
        found |= {field: value for field, value in rules.preprocess.items() if value != usual.get(field)}
        overrides = {field: value for field, value in found.items() if field in PREPROCESS}
        again = shared_rules(name, target=rules.target, overrides=overrides)
        if again.preprocess == rules.preprocess and again.cam_channels == rules.cam_channels:
            if name != "model" and (odd := [field for field in PREPROCESS if field in given]):
                raise XkdError(f"{odd[0]}: the run directory of `{argument}` says it ({rules.name}); leave it out")
            return found
    raise XkdError(
        f"{argument}: its rules ({printable(rules.name)}) cannot be made of options; evaluate the other model by them, "
        "and give its run directory"
    )


def _explainer_of(results: Sequence[EvaluationResult], argument: str) -> Explainer | None:
    """What made the maps, made again by its name and options; None of tests that need no maps."""
    described = [result.description["explainer"] for result in results]
    known = [found for found in described if found["name"] != NO_MAPS]
    if not known:
        return None
    if odd := [found for found in known if found != known[0]]:
        raise XkdError(f"{argument}: its runs are of maps of other options ({known[0]} and {odd[0]}); give one run's")
    options = {name: value for name, value in known[0].items() if name not in ("name", "of")}
    name = known[0]["name"]
    remedy = f"evaluate the other model on such maps, and give its run directory as well as {argument}'s"
    if name == StoredMaps.name or known[0].get("of"):
        raise XkdError(f"{argument}: its maps are no explainer's of the model ({printable(name)}); {remedy}")
    made = create_explainer(name, **options)
    if plain_options(made) != options:
        raise XkdError(f"{argument}: {printable(name)} cannot be made again of {options}; {remedy}")
    return made


def _as_many(dataset: ImageDataset, results: Sequence[EvaluationResult], run: RunOptions) -> ImageDataset:
    """The sample that the runs are of, where they are of one and the user does not say which."""
    counts = {result.description["data"]["n_images"] for result in results if _scores_the_set(result)}
    if run.limit is not None or len(dataset) in counts:
        return dataset
    smaller = [count for count in counts if count < len(dataset)]
    return limit(dataset, max(smaller), run.seed) if smaller else dataset


def _scores_the_set(result: EvaluationResult) -> bool:
    """Whether a test scores the photographs as they are, and not what it makes of them, as grids."""
    return type(result.test).images is Evaluation.images


def _check_images(result: EvaluationResult, dataset: ImageDataset, digest: str, argument: str) -> None:
    """Raise XkdError where a data set is not the one that a run records.

    Of a test that makes a set of its own, as grids, the comparison that follows tells.
    """
    recorded = result.description["data"]
    given = None if dataset.boxes_from is None else asdict(dataset.boxes_from)
    if result.test.needs_boxes and recorded.get("boxes") is not None and given is None:
        raise XkdError(
            f"boxes: the run directory of `{argument}` was given a file of boxes for {recorded['name']}; give it"
        )
    if not _scores_the_set(result) or recorded["digest"] == digest:
        return
    which = "masks" if result.test.needs_masks else "data"
    found, expected = (
        f"{printable(name)}, {counted(count, 'image')}, digest {known[:12]}"
        for name, count, known in (
            (dataset.name, len(dataset), digest),
            (recorded["name"], recorded["n_images"], recorded["digest"]),
        )
    )
    raise XkdError(
        f"{which}: {found}, found; the run directory of `{argument}` is of {expected}: give that set, with the `limit` "
        "and `seed` of that run where it was a sample"
    )


def _without_name(rules: Rules) -> Rules:
    return replace(rules, name="")
