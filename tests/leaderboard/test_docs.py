"""docs/leaderboard.md: its Python runs."""

from __future__ import annotations

import re
from pathlib import Path

TEXT = (Path(__file__).parents[2] / "docs" / "leaderboard.md").read_text()


def test_the_python_runs(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    exec(compile(block, "docs/leaderboard.md", "exec"), {"__name__": "__main__"})
    assert Path("leaderboard.md").read_text().count("| embedded/") == 2
