"""xkd-eval card."""

import sys

import pytest

from xkd_eval.cli import main


@pytest.fixture
def xkd_eval(monkeypatch, capsys, tmp_path):
    """Run the console script in an empty directory -> (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["xkd-eval", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    return run


def test_a_card_of_runs_and_one_that_is_computed(xkd_eval, tmp_path):
    few = ("--limit", "6", "--fractions", "0.5")
    assert xkd_eval("perturbation", "--model", "embedded/kd", *few, "-o", "run")[0] == 0
    code, printed, _ = xkd_eval("card", "embedded/kd", "--runs", "run", "-o", "a/README.md", "--tag", "mine")
    assert (code, printed) == (0, "card: a/README.md\n")
    assert xkd_eval("card", "embedded/kd", "-d", "embedded", *few, "--photographs", "0", "-o", "b/README.md")[0] == 0
    first, second = ((tmp_path / name / "README.md").read_text() for name in "ab")
    assert first.replace("- mine\n", "") == second


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--runs", "none"), "error: --runs: 'none' holds no finished run of this model (none found)"),
        (("--test", "segmentation"), "error: --test: found, and no scores are computed without --data; leave it out"),
        (("--push-to", "mine"), "error: --push-to: 'mine' is no repository; expected ORG/NAME"),
        (("-o", "mine.md"), "error: --output: 'mine.md' is there, and no card of this package"),
    ],
    ids=["no runs", "a test without data", "no repository", "another file"],
)
def test_bad_input_is_one_line(xkd_eval, tmp_path, arguments, message):
    (tmp_path / "mine.md").write_text("mine")
    code, _, errors = xkd_eval("card", "embedded/kd", *arguments)
    assert code == 2 and errors.startswith(message) and errors.count("\n") == 1
