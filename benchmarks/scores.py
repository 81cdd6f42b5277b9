"""Eight explainers and the floors under the core scores, on photographs and masked frames, for docs/benchmark.md.

Tables in Markdown: a row an explainer, a column a score with its 95 % interval, floors that win; and whether the scores
say the same. It continues where it stopped.

python -m benchmarks.scores --data imagenet_like/val --masks gtsegs_ijcv.mat --runs runs/benchmark
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.compared import number
from benchmarks.lite import lite0, lite1
from xkd_eval import Classifier, ScoreSpec, Study, evaluate
from xkd_eval.statistics.intervals import Interval
from xkd_eval.statistics.paired import Resamples
from xkd_eval.study.floors import FLOORS, ORACLE, better_floors

MODELS = {"lite0": lite0, "lite1": lite1}
EXPLAINERS = (
    *("cam", "gradcam++", "layercam", "eigencam", "fullgrad"),
    *("guided_backprop", "input_x_gradient", "integrated_gradients:steps=20"),
)
ON_PHOTOGRAPHS = ("confidence", "insertion_deletion", "road", "complexity", "grid_pointing:confidence=0.5")
ON_MASKS = ("localisation:regions=masks",)
SHOWN = {
    "confidence": ("average_drop", "increase", "average_gain"),
    "insertion_deletion": ("insertion", "deletion"),
    "road": ("road_combined",),
    "complexity": ("sparseness",),
    "grid_pointing": ("grid_pointing",),
    "localisation": ("max_box_acc_v2", "fixed.gt_known", "pointing_game", "energy_pointing_game"),
    "randomisation": ("mprt_spearman",),
}
"""Test -> the scores of the tables."""


def table(studies: Sequence[Study], model: str) -> str:
    """A row a kind of maps, a column a score; ⚑ where a floor is better."""
    results = [result for study in studies for result in study.results if result.model == model]
    columns = [(test, score) for test, scores in SHOWN.items() for score in scores]
    specs = {(result.test.name, spec.name): spec for result in results for spec in result.test.specs()}
    columns = [column for column in columns if column in specs]
    found = {
        (result.maps.partition(":")[0], result.test.name, score): specs[result.test.name, score].of(result.summary)
        for result in results
        for score in SHOWN.get(result.test.name, ())
        if (result.test.name, score) in specs
    }
    lines = [
        f"| maps | {' | '.join(specs[column].head for column in columns)} |",
        f"|---|{'---:|' * len(columns)}",
    ]
    for maps in dict.fromkeys(name for name, _, _ in found):
        cells = [_cell(specs[column], found, maps, column) for column in columns]
        lines.append(f"| {maps} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(spec: ScoreSpec, found: dict[tuple[str, str, str], Any], maps: str, column: tuple[str, str]) -> str:
    entry = found.get((maps, *column))
    if entry is None or entry["value"] is None:
        return ""
    floors = {name: found[name, *column]["value"] for name in FLOORS if (name, *column) in found}
    beaten = "" if maps in (*FLOORS, ORACLE) else " ⚑" * bool(better_floors(spec, entry["value"], floors))
    bounds = " ({} to {})".format(*(number(spec, end) for end in entry["ci95"])) if entry["ci95"] else ""
    return f"{number(spec, entry['value'])}{beaten}{bounds}"


def beyond_floors(studies: Sequence[Study], model: str) -> str:
    """A row a score, of each explainer's less the best floor's over the same images: bold where surely the better one
    (the 95 % interval of the difference), in italics where surely the worse one."""
    results = [result for study in studies for result in study.results if result.model == model]
    own = [maps for maps in dict.fromkeys(result.maps for result in results) if maps not in (*FLOORS, ORACLE)]
    lines = [
        f"| score | best floor | {' | '.join(name.partition(':')[0] for name in own)} |",
        f"|---|---|{'---:|' * len(own)}",
    ]
    for test, scores in SHOWN.items():
        of_test = {result.maps: result for result in results if result.test.name == test}
        floors = [of_test[name] for name in FLOORS if name in of_test]
        if not floors:
            continue
        specs = {spec.name: spec for spec in floors[0].test.specs()}
        assert len({result.ids for result in of_test.values()}) == 1  # differences are of the same images
        drawn = {maps: Resamples.of(result.test.columns(result.columns)) for maps, result in of_test.items()}
        for spec in (specs[score] for score in scores):
            values = {floor.maps: spec.sign * spec.of(floor.summary)["value"] for floor in floors}
            most = max(values.values())
            best = [maps for maps, value in values.items() if value == most]
            cells = [_apart(spec, drawn[maps].difference(drawn[best[0]], spec.compute)[0]) for maps in own]
            lines.append(f"| {spec.head} | {'all' if len(best) == len(floors) else best[0]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _apart(spec: ScoreSpec, apart: Interval) -> str:
    if apart.value is None or apart.low is None or apart.high is None:
        return ""
    side = (apart.low > 0) - (apart.high < 0)
    mark = {1: "**", -1: "*", 0: ""}[side * spec.sign]
    return f"{mark}{number(spec, apart.value, signed=True)}{mark}"


def agreement(study: Study, model: str) -> str:
    """Pairs of scores: the mean over kinds of maps of their rank correlation over images."""
    rows = study.agreement_of_scores("shown")
    chosen = [score for scores in SHOWN.values() for score in scores]
    rows = rows[(rows["model"] == model) & rows["score"].isin(chosen) & rows["other_score"].isin(chosen)]
    own = rows[~rows["maps"].isin([*FLOORS, ORACLE])]
    means = own.groupby(["score", "other_score"], sort=False)["spearman"].agg(["mean", "min", "max"]).reset_index()
    lines = ["| score | and | mean over explainers | least | greatest |", "|---|---|---:|---:|---:|"]
    for row in means.itertuples():
        lines.append(f"| {row.score} | {row.other_score} | {row.mean:.2f} | {row.min:.2f} | {row.max:.2f} |")
    return "\n".join(lines)


def orders(studies: Sequence[Study], model: str) -> str:
    """Do two scores put the eight explainers into one order? Rank correlation over explainers of the means."""
    values: dict[str, dict[str, float]] = {}
    for study in studies:
        for result in study.results:
            if result.model != model or result.maps in (*FLOORS, ORACLE):
                continue
            for spec in result.test.specs():
                if spec.name in SHOWN.get(result.test.name, ()):
                    value = spec.of(result.summary)["value"]
                    values.setdefault(spec.name, {})[result.maps] = (
                        spec.sign * value if value is not None else float("nan")
                    )
    frame = pd.DataFrame(values)
    correlations = frame.corr(method="spearman")
    names = list(correlations.columns)
    lines = [f"| | {' | '.join(names)} |", f"|---|{'---:|' * len(names)}"]
    for name in names:
        cells = ["" if pd.isna(value) else f"{value:.2f}" for value in correlations[name]]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def run(classifiers: dict[str, Classifier], arguments: argparse.Namespace) -> list[Study]:
    """The studies: photographs, masked frames, and fewer photographs for the costly randomisation."""
    maps = [*EXPLAINERS, *FLOORS]
    shared = {"runs": arguments.runs}
    photographs = evaluate(
        classifiers, arguments.data, explainers=maps, tests=ON_PHOTOGRAPHS, limit=arguments.limit, **shared
    )
    frames = evaluate(
        classifiers, arguments.masks, explainers=[*maps, ORACLE], tests=ON_MASKS, limit=arguments.limit, **shared
    )
    few = min(arguments.limit or 40, 40)
    random = evaluate(
        classifiers, arguments.data, explainers=list(EXPLAINERS), tests="randomisation", limit=few, **shared
    )
    return [photographs, frames, random]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="an ImageNet tree")
    parser.add_argument("--masks", required=True, help="images with masks")
    parser.add_argument("--runs", type=Path, required=True, help="where runs lie")
    parser.add_argument("--limit", type=int, help="photographs of each; by default all")
    parser.add_argument("--models", nargs="+", choices=tuple(MODELS), default=tuple(MODELS), help="by default both")
    arguments = parser.parse_args()
    for name in arguments.models:
        studies = run({name: MODELS[name]()}, arguments)
        print(f"\n### {name}\n\n{table(studies, name)}\n")
        print(f"#### {name}: against the best floor\n\n{beyond_floors(studies, name)}\n")
        print(f"#### {name}: do two scores rank the images alike?\n\n{agreement(studies[0], name)}\n")
        print(f"#### {name}: do two scores rank the explainers alike?\n\n{orders(studies, name)}\n", flush=True)


if __name__ == "__main__":
    main()
