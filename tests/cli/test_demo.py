"""The demo: overlays and a report from one command without arguments."""

from __future__ import annotations

from typer.testing import CliRunner

from xkd_eval.cli import app, demo


def test_the_demo_leaves_runs_figures_and_a_report(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "_QUICK", 12)
    told = CliRunner().invoke(app, ["demo", "--quick", "-o", str(tmp_path)])
    assert told.exit_code == 0, told.output
    assert (tmp_path / "quick" / "overlay.png").is_file()
    report = (tmp_path / "quick" / "comparison" / "report.html").read_text()
    assert "xkd-eval compare embedded/teacher" in report
    assert told.stdout.splitlines()[-1].startswith("report:")
    assert len(told.stdout.splitlines()) <= 15 and "exp_kd" in told.stdout
