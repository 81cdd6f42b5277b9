"""Figures as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from xkd_eval.errors import XkdError
from xkd_eval.figures.overlay import OverlayPanel, overlay_figure
from xkd_eval.figures.style import check_figure_path, save_figure

_MAGIC = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}


@pytest.fixture
def figure() -> Figure:
    panel = OverlayPanel(np.zeros((12, 20, 3), np.uint8), np.arange(4.0).reshape(2, 2), "cat", 0.5, "net")
    return overlay_figure([[panel]])


@pytest.mark.parametrize("suffix", _MAGIC)
def test_a_figure_is_written_in_the_format_of_its_suffix_and_twice_the_same(figure, tmp_path, suffix):
    first = save_figure(figure, tmp_path / "new" / f"a{suffix}")
    second = save_figure(figure, tmp_path / f"b{suffix.upper()}")
    assert first.read_bytes().startswith(_MAGIC[suffix])
    assert first.read_bytes() == second.read_bytes()
    assert [path.name for path in first.parent.iterdir()] == [f"a{suffix}"]


@pytest.mark.parametrize("name", ["a.gif", "a", "a.png.txt"])
def test_another_suffix_is_refused(name):
    with pytest.raises(XkdError, match=r"output: '.*expected a file that ends in .png, .pdf or .svg"):
        check_figure_path(name)


def test_a_place_that_cannot_be_written_is_named(figure, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(XkdError, match=r"^output: .* cannot be written \(.*\); a part of that path is a file"):
        save_figure(figure, tmp_path / "file" / "a.png")


def test_a_failed_save_leaves_the_old_file(figure, tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def full_disk(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises(XkdError, match=r"No space left on device\); make room"):
        save_figure(figure, path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
