"""Is a candidate shown to be no worse than a baseline? A gate for continuous integration."""

from __future__ import annotations

from xkd_eval.gate.result import Gate

__all__ = ["Gate"]
