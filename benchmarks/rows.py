"""Time and peak memory of what ten million rows come to: the summary of a run, and its scores by class.

    python benchmarks/rows.py

A run of the embedded student is made, and its rows are drawn again and again under new names until there are as many as
are asked for, in parts as a run writes them. Each number is of a process of its own. The means are known of the draws,
and compared.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa

import xkd_eval
from xkd_eval.evaluations import TESTS
from xkd_eval.study.by_class import scores_by_class
from xkd_eval.study.directory import RunDirectory
from xkd_eval.study.parts import write_part
from xkd_eval.study.records import PROTOCOL_SCHEMA, identity_of, write_record
from xkd_eval.study.summary import summarise
from xkd_eval.study.tally import Tally

_PART = 2048
_DRAWN_OF = 500


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=(50_000, 1_000_000, 10_000_000))
    given = parser.parse_args()
    print("| rows | on disk, MiB | summary, s | peak, MiB | by class, s | peak, MiB |\n|---:|---:|---:|---:|---:|---:|")
    for count in given.rows:
        with tempfile.TemporaryDirectory() as folder:
            description, accuracy = _written(Path(folder), count)
            size = sum(file.stat().st_size for file in Path(folder).rglob("*.parquet")) / 2**20
            (summary, found), (classes, others) = (_alone(work, folder, description) for work in (_summary, _by_class))
            assert abs(found - accuracy) < 1e-12 and others == count, (found, accuracy, others)
            print(f"| {count:,} | {size:,.0f} | {summary} | {classes} |", flush=True)


def _written(folder: Path, count: int) -> tuple[dict, float]:
    """A run directory of `count` rows: its description, and the accuracy that its rows have."""
    result = xkd_eval.perturbation_test("embedded/kd", limit=_DRAWN_OF)
    rows, generator = result.rows, np.random.default_rng(0)
    data = {**result.description["data"], "n_images": count}
    description = {**result.description, "data": data, "schema": PROTOCOL_SCHEMA}
    write_record(folder / "protocol.json", description)
    right = 0
    for start in range(0, count, _PART):
        positions = np.arange(start, min(start + _PART, count))
        chosen = rows.take(generator.integers(0, rows.num_rows, len(positions)))
        names = {"position": positions, "id": [f"n{place // 1300:08d}/image-{place:08d}" for place in positions]}
        names["content_hash"] = [f"{place:032x}" for place in positions]
        for name, values in names.items():
            chosen = chosen.set_column(chosen.column_names.index(name), name, pa.array(values))
        write_part(folder / "rows", chosen, identity_of(description))
        right += int(np.sum(chosen["clean_hit"].to_numpy(zero_copy_only=False)))
    return description, right / count


def _alone(work: object, folder: str, description: dict) -> tuple[str, float]:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measured, work, folder, description).result()


def _measured(work: object, folder: str, description: dict) -> tuple[str, float]:
    """Seconds and peak resident memory as cells of the table, and what was found."""
    start = time.perf_counter()
    found = work(Path(folder), description)  # type: ignore[operator]
    seconds = time.perf_counter() - start
    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, KiB elsewhere
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    return f"{seconds:.1f} | {peak:,.0f}", found


def _summary(folder: Path, description: dict) -> float:
    store = RunDirectory(folder, description)
    test = TESTS["perturbation"].from_description(description["protocol"], description["settings"])
    summary = summarise(Tally(store.read_rows(), test), test, description, None)
    return summary["clean_accuracy"]["value"]


def _by_class(folder: Path, description: dict) -> float:
    test = TESTS["perturbation"].from_description(description["protocol"], description["settings"])
    return float(scores_by_class(test, RunDirectory(folder, description).read_rows())["n_images"].sum())


if __name__ == "__main__":
    main()
