"""Successive halving: the settings of each method that are best on held-out images go on into the next sweep.

    xkd-distill sweep benchmarks/recipes/cifar100_tuning.yaml --set epochs=5 -o runs/rung_0
    python benchmarks/halving.py runs/rung_0 --keep 2 -o runs/rung_1.yaml
    xkd-distill sweep runs/rung_1.yaml -o runs/rung_1
    python benchmarks/halving.py runs/rung_1 --keep 1 --seeds 0 1 2 -o runs/rung_2.yaml

Prints a Markdown line a method: its settings with their accuracy, the kept ones in bold. A best setting that is the
first or the last of its grid is said so: a larger grid might hold a better one.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

SCORE = "last_val_top1"


def main() -> None:
    """Print the table and write the next sweep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=Path, help="the directory of a sweep of one seed")
    parser.add_argument("--recipe", default="benchmarks/recipes/cifar100_evidence.yaml", help="whose variants they are")
    parser.add_argument("--keep", type=int, required=True, help="settings a method")
    parser.add_argument("--methods", nargs="+", help="go on with these alone")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--data", default="cifar100/")
    parser.add_argument("--output", "-o", type=Path, required=True, help="the next sweep's file")
    given = parser.parse_args()
    runs = settings_of(pd.read_csv(given.sweep / "results.csv"))
    stages: list[dict[str, Any]] = []
    print(f"| method | {SCORE} % by setting | |\n|---|---|---|")
    for method, tried in runs.groupby("method", sort=False):
        best = tried.nlargest(given.keep, SCORE)
        print(line_of(method, tried, set(best.index)))
        if given.methods is None or method in given.methods:
            stage: dict[str, Any] = {"recipes": [f"{given.recipe}:{method}"]}
            if best["key"].notna().all():
                stage["grid"] = {best["key"].iloc[0]: best["value"].sort_values().tolist()}
            stages.append(stage)
    content = {"stages": stages, "seeds": given.seeds, "data": given.data}
    given.output.write_text(yaml.safe_dump(content, sort_keys=False))


def settings_of(results: pd.DataFrame) -> pd.DataFrame:
    """Of each run its method, the key that the grid set and its value, beside the score; unfinished ones are absent."""
    names = results["run"].str.split("/", expand=True).reindex(columns=range(3))
    key_and_value = names[2].str.split("=", expand=True).reindex(columns=range(2))
    return pd.DataFrame(
        {
            "method": names[1],
            "key": key_and_value[0],
            "value": key_and_value[1].astype(float),
            SCORE: results[SCORE],
        }
    )


def line_of(method: object, tried: pd.DataFrame, kept: set[Any]) -> str:
    """A row of the table."""
    ordered = tried.sort_values("value")
    cells = [
        f"{row.value:g}: {'**' * (row.Index in kept)}{100 * getattr(row, SCORE):.1f}{'**' * (row.Index in kept)}"
        for row in ordered.itertuples()
    ]
    place = ordered.index.get_loc(ordered[SCORE].idxmax())
    edge = {0: "the first is best", len(ordered) - 1: "the last is best"}.get(place, "") if len(ordered) > 2 else ""
    return f"| {method} | {', '.join(cells)} | {edge} |"


if __name__ == "__main__":
    main()
