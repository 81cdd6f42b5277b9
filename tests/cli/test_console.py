"""What is printed: names from outside neither steer the terminal nor are read as markup."""

from dataclasses import replace

import pytest
from rich.table import Table

from xkd_eval import evaluate, perturbation_test
from xkd_eval.cli.console import console
from xkd_eval.cli.output import print_result, print_study
from xkd_eval.datasets.embedded import EmbeddedDataset

HOSTILE = "[red]a\x1b[31m\u202e:smile:\r[/b]"
SHOWN = r"[red]a\x1b[31m\u202e:smile:\r[/b]"


@pytest.fixture
def images():
    made = EmbeddedDataset("test", size=2)
    made.name = HOSTILE
    return made


def test_control_characters_are_spelt_out_wherever_they_are_printed(monkeypatch):
    monkeypatch.setattr(console, "_width", 200)
    table = Table(title="\x1b[31m")
    table.add_row("a\x07\x1b]0;title")
    with console.capture() as printed:
        console.print("\x1b[31m\nsecond", markup=False)
        console.print(table)
    assert "\x1b" not in printed.get() and "\x07" not in printed.get()
    assert printed.get().startswith("\\x1b[31m\nsecond\n") and "a\\x07\\x1b]0;title" in printed.get()


def test_names_are_printed_as_they_are(monkeypatch, images):
    monkeypatch.setattr(console, "_width", 300)
    options = {"fractions": [0.5], "direction": "positive"}
    with console.capture() as printed:
        print_study(evaluate({HOSTILE: "embedded/kd"}, images, **options))
        print_result(perturbation_test("embedded/kd", images, **options))
    assert printed.get().count(SHOWN) == 3 and "\x1b" not in printed.get()


def test_a_result_has_the_masks_own_scores_and_numbers_of_one_rule(monkeypatch, images):
    monkeypatch.setattr(console, "_width", 300)
    result = perturbation_test("embedded/kd", images, fractions=[0.5], direction="positive", floors=True)
    with console.capture() as printed:
        print_result(result)
    spec = result.test.spec("positive.auc")
    row = next(line for line in printed.get().splitlines() if line.startswith("│ Positive AUC ↓ "))
    value = spec.text(spec.of(result.floors["oracle"].summary)["value"])
    assert [cell.strip() for cell in row.split("│")][5] == value
    assert "oracle: the objects' masks themselves" in printed.get()
    assert replace(spec, unit="").text(-0.00012) == "0.000" and replace(spec, unit="").text(0.81249) == "0.812"
