"""Blocks: runs that can be compared, with a name for each, and why they stand apart from the others of their test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from xkd_eval.comparison.groups import changed_picture, differing_parts, ended_after
from xkd_eval.evaluations.base import Evaluation
from xkd_eval.evaluations.protocol import differing_fields
from xkd_eval.evaluations.scores import ScoreSpec
from xkd_eval.foreign import short
from xkd_eval.study.floors import FLOORS, ORACLE
from xkd_eval.study.result import EvaluationResult
from xkd_eval.wording import counted

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Entry:
    """A row of a block.

    Attributes:
        model, maps: what it is called, unlike all others of its block.
        result: its run.
    """

    model: str
    maps: str
    result: EvaluationResult

    @property
    def is_beside(self) -> bool:
        """Whether its maps are a floor's, the oracle's or another model's, which no model competes with."""
        explainer = self.result.summary["explainer"]
        return explainer["name"] in (*FLOORS, ORACLE) or bool(explainer.get("of"))

    def value(self, spec: ScoreSpec) -> tuple[float | None, float | None, float | None]:
        """A score with its 95 % interval; None where it is undefined."""
        found = spec.of(self.result.summary)
        if found is None:
            return None, None, None
        low, high = found["ci95"] or (None, None)
        return found["value"], low, high


@dataclass(frozen=True)
class Block:
    """Runs of one test, by the same rules, on the same images.

    Attributes:
        entries: one a model and kind of maps.
        specs: the scores that are shown.
        reason: what differs from the first block of the same test; "" of the first.
    """

    entries: tuple[Entry, ...]
    specs: tuple[ScoreSpec, ...]
    reason: str = ""

    @property
    def test(self) -> Evaluation:
        """The test of all of them."""
        return self.entries[0].result.test

    @property
    def title(self) -> str:
        """The test, its rules and its images, in a line."""
        summary = self.entries[0].result.summary
        protocol, data = summary["protocol"], summary["data"]
        images = f"{_images(self.entries[0].result)} of {data['name']} ({data['digest'][:12]})"
        reference = summary.get("reference")
        beside = f", beside {reference['name']}" if reference else ""
        return f"{self.test.title}: protocol {protocol['name']} ({protocol['hash']}), {images}{beside}"

    @cached_property
    def scores(self) -> pd.DataFrame:
        """A row a model, kind of maps and score: model, maps, test, score, value, low, high (95 % interval)."""
        import pandas as pd

        rows = [
            (entry.model, entry.maps, self.test.name, spec.name, *entry.value(spec))
            for entry in self.entries
            for spec in self.specs
        ]
        return pd.DataFrame(rows, columns=["model", "maps", "test", "score", "value", "low", "high"])

    def best(self, spec: ScoreSpec) -> float | None:
        """The best value of a score on models' own maps; None where no direction is better, or none competes."""
        found = [entry.value(spec)[0] for entry in self.entries if not entry.is_beside]
        known = [value for value in found if value is not None]
        if not spec.sign or len(known) < 2:
            return None
        return max(known, key=lambda value: spec.sign * value)


def blocks_of(results: Sequence[EvaluationResult]) -> list[Block]:
    """The runs in blocks, the largest of each test first; with all scores that stand in printed tables."""
    tests: dict[str, list[list[EvaluationResult]]] = {}
    for result in results:
        groups = tests.setdefault(result.test.name, [])
        group = next((group for group in groups if _fits(group[0], result)), None)
        if group is None:
            groups.append([result])
        elif not any(_is_same_run(result, other) for other in group):
            group.append(result)
    found = []
    for groups in tests.values():
        first, *others = sorted(groups, key=len, reverse=True)
        found += [_block(first, ""), *(_block(group, _reason(first[0], group[0])) for group in others)]
    return found


def _fits(first: EvaluationResult, other: EvaluationResult) -> bool:
    return not differing_parts(first, other) and changed_picture(first, other) is None


def _is_same_run(first: EvaluationResult, other: EvaluationResult) -> bool:
    """Whether a run was found in two places."""
    parts = ("model", "explainer", "precision", "engine", "rows")
    return all(first.summary[part] == other.summary[part] for part in parts)


def _block(results: Sequence[EvaluationResult], reason: str) -> Block:
    """With the scores that any of them has: a run of one direction lacks the other's."""
    specs = {spec.name: spec for result in results for spec in result.test.specs()}
    shown = [spec for spec in specs.values() if spec.x is None and spec.is_at_least("compared")]
    return Block(tuple(_entries(results)), tuple(shown), reason)


def _entries(results: Sequence[EvaluationResult]) -> list[Entry]:
    """Under the models' names and the maps'; what these do not tell apart by precision, and by directory."""
    explainers = [result.summary["explainer"] for result in results]
    maps = [_maps(explainer, explainers) for explainer in explainers]
    models = [str(result.summary["model"]["name"]) for result in results]
    for told in (_precision, _engine, _directory):
        if told is not _directory and len({told(result) for result in results}) == 1:
            continue
        alike = Counter(zip(models, maps, strict=True))
        models = [
            f"{model} ({told(result)})" if alike[model, called] > 1 else model
            for model, called, result in zip(models, maps, results, strict=True)
        ]
    return [Entry(*row) for row in zip(models, maps, results, strict=True)]


def _precision(result: EvaluationResult) -> str:
    return str(result.summary["precision"])


def _engine(result: EvaluationResult) -> str:
    return " ".join(result.summary["engine"].values())


def _directory(result: EvaluationResult) -> str:
    return "" if result.directory is None else str(result.directory)


def _maps(explainer: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> str:
    """The explainer's name; with its options where another of that name has others, and whose maps they are."""
    name, options = _name(explainer), _options(explainer)
    told = any(_name(other) == name and _options(other) != options for other in others)
    spelt = f"{name}:{','.join(f'{key}={value}' for key, value in options.items())}" if told and options else name
    of = explainer.get("of")
    return f"{spelt} of {of['name']}" if of else spelt


def _name(explainer: Mapping[str, Any]) -> str:
    return str(explainer["name"])


def _options(explainer: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in explainer.items() if key not in ("name", "of")}


def _reason(first: EvaluationResult, other: EvaluationResult) -> str:
    """What differs, with the values of both where they are short."""
    ours, theirs = first.description, other.description
    rules = [
        f"{name} {_told(theirs['protocol'].get(name))} instead of {_told(ours['protocol'].get(name))}"
        for name in differing_fields(ours["protocol"], theirs["protocol"])
        if name not in ("hash", "name")
    ]
    parts = differing_parts(first, other)
    if "protocol.hash" in parts and not rules:
        rules = ["protocol.hash"]
    if "data.digest" in parts:
        here, there = (f"{d['data']['name']} of {counted(d['data']['n_images'], 'image')}" for d in (theirs, ours))
        rules.append(f"data {here} instead of {there}" if here != there else "names, labels or sizes of the images")
    rules += [name for name in parts if name in ("data.boxes", "reference.digest")]
    if "stopped_after" in parts:
        rules.append(f"{_images(other)} instead of {_images(first)}")
    if not rules:
        return f"the image {changed_picture(first, other)!r} is another picture under the same name"
    return f"these differ: {'; '.join(rules)}"


def _images(result: EvaluationResult) -> str:
    """All images of the set, or those that had come when the test ended."""
    everything, early = counted(result.summary["data"]["n_images"], "image"), ended_after(result)
    return everything if early is None else f"the first {early[0]:,} (seed {early[1]}) of {everything}"


def _told(value: Any) -> str:
    return value if isinstance(value, str) else short(value)
