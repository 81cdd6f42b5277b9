"""The attack of benchmarks/fuzz.py, in small; and that it sees what it is there to see."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

from xkd_eval.errors import XkdError

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
COUNT = 25


@pytest.fixture(scope="module", autouse=True)
def _attacks():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield


@pytest.fixture(scope="module")
def attacked(tmp_path_factory):
    """What came of `COUNT` mutants of every group, and what was printed."""
    pytest.importorskip("hypothesis")
    folder = tmp_path_factory.mktemp("fuzz")
    command = [sys.executable, BENCHMARKS / "fuzz.py", "--count", COUNT, "--seed", 0, "--jobs", 2]
    command += ["--json", folder / "fuzz.json", "--failures", folder / "failures"]
    ended = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)
    assert (folder / "fuzz.json").is_file(), ended.stderr
    return json.loads((folder / "fuzz.json").read_text()), ended


def test_nothing_is_uncaught_and_nothing_lies(attacked):
    told, ended = attacked
    failures = [f"{found['group']}: {found['detail']}\n    {found['command']}" for found in told["failures"]]
    assert not failures, "\n".join(failures)
    assert ended.returncode == 0


def test_every_group_was_attacked_and_felt_it(attacked):
    from attacks import everything
    from attacks.group import GROUPS

    groups = attacked[0]["groups"]
    assert everything and groups.keys() == GROUPS.keys()
    for name, counts in groups.items():
        assert sum(counts.values()) == COUNT, name
        if name != "decoded-images":  # they are made again where they are damaged
            assert counts["refused"] + counts["noticed"] + counts["silent"] + counts["uncaught"] > COUNT / 10, name


def lie():
    return "other"


def lie_with_another_identity():
    return "another"


def tell_the_truth():
    return "value"


def refuse():
    raise XkdError("data: 'a' is damaged; copy it again")


def refuse_at_length():
    raise XkdError("data: " + "x" * 600)


class RawError(XkdError):
    """An error whose message is as it was given, whatever the class makes of others."""

    def __init__(self, message):
        super().__init__(message)
        self.message = message

    def __str__(self):
        return self.message


def refuse_in_lines():
    raise RawError("data: 'a'\nis damaged")


def refuse_in_colour():
    raise RawError("data: '\x1b[31m' is damaged")


def raise_what_a_library_raises():
    raise KeyError("weight")


def leave():
    sys.exit(3)


def die():
    os.abort()


def warn():
    warnings.warn("odd metadata", stacklevel=1)
    return "value"


def print_from_c():
    os.write(2, b"TIFFReadDirectory: odd\n")
    return "value"


def hang():
    time.sleep(60)


def take_memory():
    return "value" if b"x" * (3 * 2**29 + 2**26) else ""


PLANTED = {
    tell_the_truth: ("same", ""),
    refuse: ("refused", ""),
    lie_with_another_identity: ("noticed", ""),
    lie: ("silent", "under the same identity"),
    refuse_at_length: ("uncaught", "a message of 606 characters"),
    refuse_in_lines: ("uncaught", "a message of 2 lines"),
    refuse_in_colour: ("uncaught", "cannot be printed"),
    raise_what_a_library_raises: ("uncaught", "KeyError: 'weight'"),
    leave: ("uncaught", "SystemExit"),
    die: ("uncaught", "SIGABRT"),
    warn: ("uncaught", "printed"),
    print_from_c: ("uncaught", "printed 'TIFFReadDirectory: odd'"),
    hang: ("uncaught", "SIGKILL"),
    take_memory: ("uncaught", "MB"),
}


def test_planted_readers_are_seen_for_what_they_do(tmp_path):
    from attacks.group import Group, Mutant
    from attacks.outcome import Found
    from attacks.workers import Task, outcomes

    class Planted(Group):
        name, about = "planted", "readers that misbehave"

        def prepare(self, folder):
            self.originals["planted"] = Found({"value": "value"}, {"": "value"})

        def block(self, seed, number):
            for reader in PLANTED:
                yield Mutant("planted", "", {"file": b""}, reader)

        def read(self, mutant, folder):
            value = mutant.values()
            return Found({"value": value}, {"": "other" if value == "another" else "value"})

    planted = Planted()
    planted.prepare(tmp_path)
    tasks = [Task("planted", 0, len(PLANTED))]
    done = outcomes({"planted": planted}, tasks, 0, 1, tmp_path, longest=12)
    found = {number: outcome for _, number, outcome in done}
    for number, (reader, (kind, detail)) in enumerate(PLANTED.items()):
        assert found[number].kind == kind, (reader, found[number])
        assert detail in found[number].detail, (reader, found[number])


def test_other_values_of_what_carries_a_checksum_are_silent_whatever_tells_of_them():
    from attacks.outcome import Found, judge

    original, other = Found({"rows": [1]}, {"": "a"}), Found({"rows": [2]}, {"": "b"})
    assert judge(lambda: other, original, strict=False).kind == "noticed"
    assert judge(lambda: other, original, strict=True).kind == "silent"


def test_a_reader_that_forgets_to_check_is_found(tmp_path, monkeypatch):
    """Weights are held to the checksums of their archive; without that, the same mutants are silent."""
    from attacks.weights import Checkpoints
    from attacks.workers import Task, outcomes

    group = Checkpoints()
    group.prepare(tmp_path)

    def kinds():
        tasks, folder = [Task("checkpoints", 0, 200)], tmp_path / str(len(list(tmp_path.iterdir())))
        return [outcome.kind for _, _, outcome in outcomes({"checkpoints": group}, tasks, 0, 1, folder)]

    assert "silent" not in kinds()
    monkeypatch.setattr("xkd_eval.classifiers.weights.files.check_archive", lambda file, where: None)
    assert "silent" in kinds()


@pytest.mark.parametrize("name", ["tars", "recipe-values"])
def test_a_seed_gives_the_same_mutants(tmp_path, name):
    from fuzz import prepared

    group = prepared(name, tmp_path)
    blocks = [[(mutant.how, dict(mutant.files)) for mutant in group.block(seed, 1)] for seed in (0, 0, 1)]
    assert blocks[0] == blocks[1] != blocks[2]
    assert len({how for how, _ in blocks[0]}) > len(blocks[0]) / 2


def test_what_is_said_to_attack_a_promise_exists():
    named = re.findall(r"`((?:tests|benchmarks)/\S+\.py)`", (BENCHMARKS.parent / "docs" / "reliability.md").read_text())
    assert len(named) > 20
    assert not [path for path in named if not (BENCHMARKS.parent / path).is_file()]
