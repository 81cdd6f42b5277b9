"""Does Exp-KD cost accuracy, and do its students explain themselves better? The tables and figure of docs/results.md.

    python benchmarks/evidence.py --runs runs/rung_2/cifar100_evidence --teacher runs/cifar100_teachers/resnet20 \\
        --data cifar100/ -o docs/results.png ce kd=kd/losses.kd.weight=10

Each method is a folder of runs below `--runs`, a run a seed, under another name where there is a `=`. Accuracy is that
of result.json, on all test images; the rest is what `xkd-eval compare` finds on `--limit` of them, which keeps its runs
in `--runs` and does not compute them twice. Without `-o` it prints the accuracies alone.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from distill.runs.layout import STUDENT, students_in
from distill.runs.tables import mean_and_deviation
from xkd_eval import Comparison, compare, evaluate
from xkd_eval.figures.canvas import Canvas
from xkd_eval.figures.style import BODY, HAIRLINE, MUTED, PALETTE, SMALL, house_style, save_figure
from xkd_eval.figures.text import line_height, text_width

PANELS = {
    "Top-1, last epoch (%) ↑": ("top1", 100),
    "Positive AUC / (range × accuracy) (%) ↓": ("positive", 100),
    "Negative AUC / (range × accuracy) (%) ↑": ("negative", 100),
    "Rank correlation with the teacher ↑": ("spearman", 1),
}
Points = Mapping[str, Mapping[str, Sequence[float]]]
"""Method -> measure -> one value a seed."""


def main() -> None:
    """Print Markdown tables and write the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="+")
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--teacher", type=Path, required=True, help="its run")
    parser.add_argument("--data", required=True)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--output", "-o", type=Path, help="the figure: .png, .pdf or .svg")
    given = parser.parse_args()
    folders = {name: folder or name for name, _, folder in (method.partition("=") for method in given.methods)}
    students = {name: students_in(given.runs / folder) for name, folder in folders.items()}
    results = {
        name: [json.loads((path.parent / "result.json").read_text()) for path in paths]
        for name, paths in students.items()
    }
    print_accuracies(results)
    if given.output is None:
        return
    found = compare(
        {"teacher": given.teacher / STUDENT, **students},
        given.data,
        limit=given.limit,
        output=given.runs / "comparison",
        command=shlex.join(["python", *sys.argv]),
    )
    print_explanations(found)
    print_differences(found, list(folders))
    points = {name: measures(found, given, results[name], paths, name) for name, paths in students.items()}
    save_figure(seed_figure(points), given.output)


def print_accuracies(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Top-1 on the test images, last epoch and the one that held-out training images select."""
    print("| method | seeds | top-1, last | top-1, selected | test loss | agrees with the teacher |")
    print("|---|---|---:|---:|---:|---:|")
    for name, runs in results.items():
        cells = [
            mean_and_deviation(
                [scale * run[epoch][f"test_{score}"] for run in runs if f"test_{score}" in run[epoch]], digits
            )
            for epoch, score, scale, digits in (
                ("last", "top1", 100, 2),
                ("best", "top1", 100, 2),
                ("best", "loss", 1, 3),
                ("best", "agreement", 100, 1),
            )
        ]
        print(f"| {name} | {', '.join(str(run['seed']) for run in runs)} | " + " | ".join(cells) + " |")


def print_explanations(found: Comparison) -> None:
    """Areas of own maps and floors, and agreement with the teacher, with intervals over seeds and images."""
    columns = {
        "positive.auc": "positive AUC ↓",
        "positive.auc_relative": "relative ↓",
        "positive.auc_common": "all right ↓",
        "negative.auc": "negative AUC ↑",
        "negative.auc_relative": "relative ↑",
        "negative.auc_common": "all right ↑",
    }
    print("\n| model | maps | " + " | ".join(columns.values()) + " | rank correlation ↑ |")
    print("|---|---|" + "---:|" * (len(columns) + 1))
    agreement = found.agreement
    agreement = agreement[(agreement["measure"] == "spearman") & (agreement["outcome"] == "all")]
    for (model, maps), table in found.scores.groupby(["model", "maps"], sort=False):
        cells = [cell(table[table["score"] == score], 100, 1) for score in columns]
        same = agreement[(agreement["model"] == model) & (agreement["maps"] == maps)]
        chosen = same[same["target"] == ("reference" if maps == found.explainer else "predicted")]
        print(f"| {model} | {maps} | " + " | ".join(cells) + f" | {cell(chosen, 1, 2)} |")
    common = found.scores[found.scores["score"].str.endswith("_common")]["n_images"]
    print(f"\n{int(common.iloc[0]) if len(common) else 0} images are right in all models and seeds")


def print_differences(found: Comparison, methods: Sequence[str]) -> None:
    """Every method less kd, with intervals over seeds and images."""
    columns = ("clean_accuracy", "positive.auc_relative", "negative.auc_relative")
    if "kd" not in methods:
        return
    print("\n| less kd | accuracy | positive AUC, relative ↓ | negative AUC, relative ↑ |\n|---|---:|---:|---:|")
    table = found.differences
    for name in methods:
        pair = table[(table["model"] == name) & (table["other"] == "kd")]
        reverse = table[(table["model"] == "kd") & (table["other"] == name)]
        flipped = reverse.assign(value=-reverse["value"], low=-reverse["high"], high=-reverse["low"])
        rows = pd.concat([pair, flipped])
        if name != "kd":
            cells = [cell(rows[rows["score"] == score], 100, 1, sign="+") for score in columns]
            print(f"| {name} | " + " | ".join(cells) + " |")


def cell(table: pd.DataFrame, scale: float, digits: int, sign: str = "") -> str:
    """Value and interval of a table's only row."""
    if not len(table) or pd.isna(table["value"].iloc[0]):
        return ""
    value, low, high = (f"{scale * table[name].iloc[0]:{sign}.{digits}f}" for name in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def measures(
    found: Comparison, given: argparse.Namespace, results: Sequence[Mapping[str, Any]], paths: Sequence[Path], name: str
) -> dict[str, list[float]]:
    """One value a seed of everything that the figure shows."""
    members = [name] if len(paths) == 1 else [f"{name} ({number})" for number in range(1, len(paths) + 1)]
    # The comparison has run these cells: they are found, and not run again.
    runs = given.runs / "comparison" / "runs"
    study = evaluate(dict(zip(members, paths, strict=True)), given.data, limit=given.limit, runs=runs)
    summaries = [result.summary for result in study.results]
    images = found.own(found.images)
    return {
        "top1": [run["last"]["test_top1"] for run in results],
        **{
            side: [summary[side]["auc_relative"]["value"] for summary in summaries] for side in ("positive", "negative")
        },
        "spearman": [float(images[images["model"] == member]["spearman"].mean()) for member in members],
    }


@house_style()
def seed_figure(points: Points) -> Figure:
    """A panel a measure, a row a method, a point a training seed, a line at their mean."""
    row, width, gap, top = 0.26, 1.85, 0.28, 0.62
    left = max(text_width(name, BODY) for name in points) + 0.2
    height = row * len(points)
    canvas = Canvas(left + len(PANELS) * (width + gap), top + height + 0.42)
    for index, (title, (measure, scale)) in enumerate(PANELS.items()):
        start = left + index * (width + gap)
        words, cut = title.split(" "), len(title.split(" ")) // 2
        canvas.text([" ".join(words[:cut]), " ".join(words[cut:])], start + width / 2, top - 0.06, size=SMALL)
        axes = canvas.axes(start, top, width, height)
        axes.grid(axis="x", color="#e4e4e4", linewidth=0.6)
        axes.set_axisbelow(True)
        for place, values in enumerate(points.values()):
            seeds = scale * np.asarray(values[measure])
            axes.plot([seeds.mean()] * 2, [place - 0.32, place + 0.32], color=MUTED, linewidth=1.2)
            axes.plot(seeds, [place] * len(seeds), "o", color=PALETTE[place % len(PALETTE)], markeredgecolor="white")
        axes.set(ylim=(len(points) - 0.5, -0.5), yticks=[])
        axes.margins(x=0.12)
        axes.spines["left"].set(visible=True, color=HAIRLINE)
    for place, name in enumerate(points):
        bottom = top + (place + 0.5) * row + line_height(BODY) / 2
        canvas.text([name], left - 0.08, bottom, align="right")
    return canvas.figure


if __name__ == "__main__":
    main()
