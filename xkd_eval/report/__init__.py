"""The comparison as one HTML file that a reader can be sent, with its figures and tables beside it."""

from __future__ import annotations

from xkd_eval.report.write import write_report

__all__ = ["write_report"]
