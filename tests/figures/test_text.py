"""Wrapping and shortening."""

from __future__ import annotations

import pytest

from xkd_eval.figures.text import fit_text, printable, text_width


def test_short_text_is_left_alone_with_its_suffix():
    assert fit_text("tabby cat", 3.0, 2, 9, suffix="  87.3 %") == ["tabby cat  87.3 %"]


@pytest.mark.parametrize(
    "text", ["one two three four five six seven", "runs/exp-kd/cifar100/resnet56-resnet20/student.pt"]
)
def test_wrapped_lines_fit_and_lose_nothing_but_spaces(text):
    lines = fit_text(text, 1.0, 9, 9)
    assert len(lines) > 1
    assert all(text_width(line, 9) <= 1.0 for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize("text", ["word " * 100, "x" * 500])
def test_what_does_not_fit_ends_in_an_ellipsis_and_keeps_the_suffix(text):
    lines = fit_text(text, 1.5, 2, 9, suffix="  3.0 %")
    assert len(lines) == 2
    assert lines[1].endswith("…  3.0 %")
    assert all(text_width(line, 9) <= 1.5 for line in lines)


def test_a_suffix_gets_its_own_line_where_one_is_left():
    name = "a class name"
    width = text_width(name, 9) * 1.05
    assert fit_text(name, width, 2, 9, suffix="  87.3 %") == [name, "87.3 %"]


def test_no_text_is_no_line():
    assert fit_text("", 1.0, 2, 9) == []
    assert fit_text(" ", 1.0, 2, 9, suffix="  5 %") == ["5 %"]


def test_width_grows_with_the_type_size():
    assert text_width("cat", 18) == pytest.approx(2 * text_width("cat", 9))


def test_characters_without_a_glyph_are_replaced_and_others_kept():
    assert printable("кошка\n\t$_^ \U000e0001 \U00012000") == r"кошка $_^ \U000e0001 " + "\N{REPLACEMENT CHARACTER}"
