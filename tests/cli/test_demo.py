"""The demo: three evaluations, overlays and a report from one command without arguments."""

from __future__ import annotations

from typer.testing import CliRunner

from xkd_eval.cli import app, demo


def test_the_demo_leaves_runs_figures_and_a_report(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "_QUICK", 12)
    told = CliRunner().invoke(app, ["demo", "--quick", "-o", str(tmp_path)])
    assert told.exit_code == 0, told.output
    for name in ("perturbation/summary.json", "segmentation/extremes.png", "overlay.png"):
        assert (tmp_path / "quick" / name).is_file(), name
    report = (tmp_path / "quick" / "comparison" / "report.html").read_text()
    assert "xkd-eval compare embedded/teacher" in report
    assert "report:" in told.output
    assert "exp_kd" in told.output
