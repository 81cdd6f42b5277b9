"""Damaged, odd and hostile input of every kind that is read: is anything uncaught, does anything lie?

    python benchmarks/fuzz.py --count 10000 --seed 0 --jobs 2 --json fuzz.json

Each group takes originals, damages them, and reads what came of it as the tool does. A mutant is *refused* (one line),
read as *the same*, or *noticed*: read with other values, which what a run keeps of them tells (an image's content hash,
the data's or the weights' digest, the description). What the project itself writes carries checksums, and there nothing
may be read with other values. Anything else is a failure: *silent*, other values under the same identity; *uncaught*,
another exception, a message of several lines or over 600 characters, something printed, 5 seconds, 1.5 GB, or a process
that died. Failures are kept in `--failures`, each with the command that repeats it. A seed gives the same mutants.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: forked processes must not share its threads

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))

from attacks import everything
from attacks.group import BLOCK, GROUPS, Group, Mutant
from attacks.outcome import BAD, GOOD, Outcome
from attacks.workers import Task, outcomes, tasks_of

from xkd_eval.foreign import short

KINDS = (*GOOD, *BAD)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a Markdown table; 1 where something failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--group", "-g", action="append", choices=sorted(GROUPS), help="some; by default all")
    parser.add_argument("--count", type=int, default=10_000, help="mutants a group")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="this mutant of one group alone, and all that is known of it")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path, help="the counts and the failures, as a file")
    parser.add_argument("--failures", type=Path, default=Path("fuzz-failures"), help="where failing mutants are kept")
    given = parser.parse_args(arguments)
    names = given.group or sorted(GROUPS)
    if given.only is not None and len(names) != 1:
        parser.error("--only needs one --group")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=_fast_disk()) as folder:
        groups = {name: prepared(name, Path(folder)) for name in names}
        if given.only is not None:
            return _show(groups[names[0]], given, Path(folder))
        started = time.monotonic()
        counts: dict[str, Counter[str]] = {name: Counter() for name in names}
        failures: dict[tuple[str, str], list[tuple[int, Outcome]]] = {}
        found = outcomes(groups, tasks_of(names, given.count), given.seed, given.jobs, Path(folder))
        for done, (name, index, outcome) in enumerate(found, 1):
            counts[name][outcome.kind] += 1
            if done % 20_000 == 0:
                print(f"{done:,} of {len(names) * given.count:,}", file=sys.stderr, flush=True)
            if outcome.kind in BAD:
                failures.setdefault((name, f"{outcome.kind}: {outcome.place}"), []).append((index, outcome))
        _report(groups, counts, failures, given, time.monotonic() - started)
    return 1 if failures else 0


def prepared(name: str, folder: Path) -> Group:
    """A group with its originals made and read."""
    found = GROUPS[name]()
    place = folder / name
    place.mkdir()
    found.prepare(place)
    shutil.rmtree(place)
    return found


def _report(
    groups: dict[str, Group],
    counts: dict[str, Counter[str]],
    failures: dict[tuple[str, str], list[tuple[int, Outcome]]],
    given: argparse.Namespace,
    seconds: float,
) -> None:
    print(f"| group | what | mutants | {' | '.join(KINDS)} |\n|---|---|{'---:|' * (1 + len(KINDS))}")
    for name, counter in counts.items():
        cells = " | ".join(f"{counter[kind]:,}" for kind in KINDS)
        print(f"| {name} | {groups[name].about} | {counter.total():,} | {cells} |")
    total = sum(counts.values(), Counter())
    bad = sum(total[kind] for kind in BAD)
    print(f"\n{total.total():,} mutants in {seconds:.0f} s, {given.jobs} processes, seed {given.seed}: {bad} failures")
    kept: list[dict[str, Any]] = []
    for (name, place), found in sorted(failures.items(), key=lambda item: (item[0][0], -len(item[1]))):
        index, outcome = found[0]
        command = replay(name, given.seed, index)
        folder = given.failures / f"{name}-{given.seed}-{index}"
        _keep(groups[name], index, outcome, command, given.seed, folder)
        print(f"\n{name}, {len(found)} times, {place}\n    {outcome.detail}\n    {command}\n    kept in {folder}")
        kept.append(
            {"group": name, "kind": outcome.kind, "place": place, "times": len(found), "detail": outcome.detail}
            | {"command": command, "indices": [number for number, _ in found[:100]]}
        )
    if given.json:
        told = {name: {kind: counter[kind] for kind in KINDS} for name, counter in counts.items()}
        values = {"seed": given.seed, "count": given.count, "seconds": seconds, "groups": told, "failures": kept}
        given.json.write_text(json.dumps(values, indent=2) + "\n")


def replay(name: str, seed: int, index: int) -> str:
    """The command that repeats one mutant."""
    return f"python benchmarks/fuzz.py --group {name} --seed {seed} --only {index}"


def _keep(group: Group, index: int, outcome: Outcome, command: str, seed: int, folder: Path) -> None:
    """A mutant's files, or its values as text, and what came of it."""
    mutant = _mutant(group, seed, index)
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in mutant.files.items():
        path = folder / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    folder.mkdir(parents=True, exist_ok=True)
    values = "" if mutant.files else f"{_shown(mutant.values)}\n"
    told = f"{command}\n\n{mutant.case}: {mutant.how}\n{values}\n{outcome.kind}: {outcome.detail}\n\n{outcome.trace}"
    (folder / "outcome.txt").write_text(told, errors="backslashreplace")


def _shown(values: Any) -> str:
    try:
        return repr(values)
    except RuntimeError:  # an odd object without a repr
        return ", ".join(f"{name}: {short(value)}" for name, value in values.items())


def _show(group: Group, given: argparse.Namespace, folder: Path) -> int:
    """One mutant, with its traceback."""
    task = Task(group.name, given.only, given.only + 1)
    ((_, index, outcome),) = outcomes({group.name: group}, [task], given.seed, 1, folder)
    mutant = _mutant(group, given.seed, index)
    print(f"{mutant.case}: {mutant.how}\n{outcome.kind} {outcome.detail}\n{outcome.trace}")
    if outcome.kind in BAD:
        place = given.failures / f"{group.name}-{given.seed}-{index}"
        _keep(group, index, outcome, replay(group.name, given.seed, index), given.seed, place)
        print(f"kept in {place}")
    return 1 if outcome.kind in BAD else 0


def _mutant(group: Group, seed: int, index: int) -> Mutant:
    number, place = divmod(index, BLOCK)
    return _block(group, seed, number)[place]


@cache
def _block(group: Group, seed: int, number: int) -> list[Mutant]:
    return list(group.block(seed, number))


def _fast_disk() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


assert everything
if __name__ == "__main__":
    sys.exit(main())
