"""Names from outside arrive as text wherever they go, and as nothing else."""

import csv
import io
import math

import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt

from distill.runs.tables import csv_text as lines_as_csv
from xkd_eval.comparison.cells import Line, Table
from xkd_eval.comparison.formats import latex_to_read, markdown
from xkd_eval.errors import XkdError
from xkd_eval.escapes import csv_bytes, csv_text, file_name, file_names, latex_text, visible

HOSTILE = (
    *("a|b", "`code`", "<script>alert(1)</script>", "*a* _b_ __c__ ~~d~~", "[text](http://x.y)", "![i](j)", "# head"),
    *("- item", "1. item", "a\\|b", "\\", "&lt;", "<!-- -->", "a_b", "_a", "a_", "snake_case_name", "| --- |", "$x$"),
    *("https://x.y", "www.x.y", "a\\*b", "``", "{x}", "> quote", "=1+1", "kd"),
)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_comes_out_of_a_markdown_renderer_as_it_went_in(name):
    page = MarkdownIt("gfm-like", {"linkify": False}).render(markdown(pd.DataFrame({"model": [name], "value": [0.5]})))
    (row,) = page.partition("<tbody>")[2].split("<tr>")[1:]
    cells = [cell.partition("</td>")[0] for cell in row.split("<td>")[1:]]
    assert cells == [name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"), "0.5000"]


def test_links_are_not_made_of_names():
    assert markdown(pd.DataFrame({"m": ["https://x.y", "www.x.y"]})).endswith("| https:\\//x.y |\n| www\\.x.y |\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("a\nb\tc\0", r"a\nb\tc\x00"),
        ("a\u202eb\u2028", r"a\u202eb\u2028"),
        ("\udcff\ud800", r"\udcff\ud800"),
        ("naïve 猫 \u200d", "naïve 猫 \u200d"),
    ],
)
def test_what_would_steer_a_terminal_is_spelt_out(text, expected):
    assert visible(text) == expected == visible(expected) == str(XkdError(text))


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r", "\n", "\N{FULLWIDTH EQUALS SIGN}"])
def test_no_cell_of_a_csv_file_is_a_formula_and_numbers_stay_numbers(first):
    name = f"{first}cmd|' /C calc'!A0"
    shown = f"'{visible(name)}"
    table = pd.DataFrame({"model": [name, "kd"], "value": [-0.5, math.nan], "seeds": [1, 2], "right": [True, False]})
    read = list(csv.reader(io.StringIO(csv_bytes(table).decode(), newline="")))
    assert read[1:] == [[shown, "-0.5", "1", "True"], ["kd", "", "2", "False"]]
    read = list(csv.reader(io.StringIO(lines_as_csv([{name: -0.5, "why": name}]), newline="")))
    assert read == [[shown, "why"], ["-0.5", shown]]
    assert csv_text("a=1") == "a=1"


def test_a_surrogate_in_a_name_does_not_cost_the_table():
    assert csv_bytes(pd.DataFrame({"id": pd.Series(["\udcff"], dtype=object)})) == b"id\n\\udcff\n"


def test_latex_takes_no_command_and_no_option_of_a_row():
    assert latex_text("a_b & 50 % {x} \\input{y} #1 ~ ^") == (
        r"a\_b \& 50 \% \{x\} \textbackslash{}input\{y\} \#1 \textasciitilde{} \textasciicircum{}"
    )
    lines = (Line(("x", ""), ()), Line(("[3pt]", "*|<"), ()))
    assert "\\\\\n{[}3pt{]} & {*}\\textbar{}\\textless{} \\\\" in latex_to_read(Table(("a", "b"), lines))
    assert "\n" not in latex_text("a\nb")


ODD = (
    "",
    ".",
    "..",
    "../../x",
    "/etc/x",
    "a/b",
    "a%2fb",
    "a\\b",
    "\0",
    "a\nb",
    "\udcff",
    "x" * 300,
    "x" * 301,
    ".x",
    "x.",
    "~x",
)


def test_each_name_has_a_file_name_of_its_own_which_is_no_path(tmp_path):
    names = {text: file_name(text) for text in ODD}
    assert len(set(names.values())) == len(ODD)
    for name in names.values():
        (tmp_path / f"{name}.png").write_bytes(b"")
    assert len(list(tmp_path.iterdir())) == len(ODD)
    assert file_name("ILSVRC2012_val-00000001 (a).b") == "ILSVRC2012_val-00000001 %28a%29.b"


def test_names_that_a_disk_without_cases_would_take_for_one_are_told_apart():
    names = file_names(["kd", "KD", "e\u0301", "é", "other"])
    assert names["other"] == "other" and names["kd"].startswith("kd~")
    assert len({name.casefold() for name in names.values()}) == 5


def test_figures_of_numbers_are_not_escaped():
    table = pd.DataFrame({"value": [-0.25, None], "n": np.array([3, 4])})
    assert markdown(table) == "| value | n |\n| --- | --- |\n| -0.2500 | 3 |\n|  | 4 |\n"
