"""The tables of finished comparisons as Markdown: a row a score, a column a model, and one student less another.

A score over the mean probability of the clean images says what is left of it where models are sure to unequal degrees.

python -m benchmarks.compared report/ other_report/ --less exp_kd kd --scores insertion road_combined/probability
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from xkd_eval.evaluations import TESTS
from xkd_eval.evaluations.scores import ScoreSpec
from xkd_eval.statistics.bootstrap import Means
from xkd_eval.statistics.paired import Resamples
from xkd_eval.study.floors import FLOORS, ORACLE
from xkd_eval.study.result import EvaluationResult

LEVEL = 0.05
"""Differences are bold where the interval excludes zero and the corrected p, where there is one, is below."""
RELATIVE = "/probability"


def shown(folders: Sequence[Path], table: str) -> pd.DataFrame:
    """One table of several comparisons, one below the other."""
    return pd.concat([pd.read_csv(folder / "tables" / f"{table}.csv") for folder in folders], ignore_index=True)


def number(spec: ScoreSpec, value: float, *, signed: bool = False) -> str:
    """In percent with a digit, or with two."""
    return f"{spec.scale * value:{'+' * signed}.{1 if spec.unit else 2}f}"


def between(differences: pd.DataFrame, spec: ScoreSpec, ours: str, theirs: str) -> str:
    """What one model has more than another, with its interval and corrected p."""
    rows = differences[(differences["score"] == spec.name) & (differences["maps"] == differences["other_maps"])]
    for row in rows.to_dict("records"):
        if {row["model"], row["other"]} == {ours, theirs}:
            sign = 1 if row["model"] == ours else -1
            value, *bounds = (sign * row[name] for name in ("value", "low", "high"))
            low, high = sorted(bounds)
            p = "" if pd.isna(row["p_holm"]) else f"; p {row['p_holm']:.2g}"
            told_apart = (low > 0 or high < 0) and not row["p_holm"] >= LEVEL
            apart = "**" * told_apart
            told = f"{number(spec, low, signed=True)} to {number(spec, high, signed=True)}"
            return f"{apart}{number(spec, value, signed=True)}{apart} ({told}{p})"
    return ""


def finished(folders: Sequence[Path]) -> list[EvaluationResult]:
    """The runs of the tests."""
    paths = [path for folder in folders for path in (folder / "runs").glob("*/*/summary.json")]
    return [EvaluationResult.read(path.parent) for path in paths if path.parts[-3] in TESTS.names()]


def by_column(runs: Sequence[EvaluationResult], maps: str) -> dict[str, dict[str, EvaluationResult]]:
    """Model -> column of rows -> the run that has it, of one kind of maps."""
    results: dict[str, dict[str, EvaluationResult]] = {}
    for run in runs:
        if run.maps == maps:
            results.setdefault(run.model.rpartition("/")[2], {}).update(dict.fromkeys(run.columns, run))
    return results


def relative_row(
    results: dict[str, dict[str, EvaluationResult]], score: str, models: Sequence[str], less: tuple[str, str]
) -> list[str]:
    """A score over the mean probability: a cell a model, and one model's less the other's with its interval."""
    found = {  # on the same draws of the images
        model: Resamples.of({name: runs[name].columns[name].astype(float) for name in (score, "clean")})
        for model, runs in results.items()
    }

    def share(means: Means) -> np.ndarray:
        return means[score] / means["clean"]

    apart = found[less[0]].difference(found[less[1]], share)[0]
    values = [found[model].interval(share).value for model in models]
    assert apart.value is not None and apart.low is not None and apart.high is not None
    bold = "**" if apart.low > 0 or apart.high < 0 else ""
    told = f"{100 * apart.low:+.1f} to {100 * apart.high:+.1f}"
    return [*(f"{100 * (value or 0):.1f}" for value in values), f"{bold}{100 * apart.value:+.1f}{bold} ({told})"]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="of `xkd-eval compare -o`")
    parser.add_argument("--less", nargs=2, default=("exp_kd", "kd"), help="two models, the second taken off the first")
    parser.add_argument("--scores", nargs="+", required=True)
    arguments = parser.parse_args()
    scores, differences = shown(arguments.folders, "scores"), shown(arguments.folders, "differences")
    own = scores[~scores["maps"].isin([*FLOORS, ORACLE])]
    models = list(dict.fromkeys(scores["model"]))
    models.sort(key=lambda model: own[own["score"] == "insertion"]["model"].tolist().index(model))
    print(f"| score | {' | '.join(models)} | {' less '.join(arguments.less)} |")
    print(f"|---|{'---:|' * (len(models) + 1)}")
    runs = finished(arguments.folders)
    specs = {spec.name: spec for run in runs for spec in run.test.specs()}
    results = by_column(runs, "cam")
    unknown = {score for score in arguments.scores if score.removesuffix(RELATIVE) not in specs}
    if unknown:
        parser.error(f"--scores: no run has {', '.join(sorted(unknown))}; they have {', '.join(sorted(specs))}")
    for score in arguments.scores:
        if score.endswith(RELATIVE):
            cells = relative_row(results, score.removesuffix(RELATIVE), models, tuple(arguments.less))
            print(f"| {score} | {' | '.join(cells)} |")
            continue
        rows = own[own["score"] == score].set_index("model")
        cells = []
        for model in models:
            row = rows.loc[model] if model in rows.index else None
            beaten = "" if row is None or pd.isna(row["beaten_by"]) else " ⚑"
            cells.append("" if row is None else number(specs[score], row["value"]) + beaten)
        print(f"| {score} | {' | '.join(cells)} | {between(differences, specs[score], *arguments.less)} |")


if __name__ == "__main__":
    main()
