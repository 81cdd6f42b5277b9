"""Run directories as one table: those that can be compared together, the others apart, with the reason."""

from __future__ import annotations

from xkd_eval.leaderboard.result import Leaderboard

__all__ = ["Leaderboard"]
