"""Presets: the rules by which another tool, or a paper, arrives at its number, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from xkd_eval.errors import check_choice
from xkd_eval.evaluations.protocol import Rules

OWN = "own"
"""What a summary calls rules that are no preset's."""


@dataclass(frozen=True)
class Preset:
    """The rules of one paper or tool.

    Attributes:
        rules: fields of the test's protocol, all of those that presets differ in.
        departs: from the paper, in one sentence; nothing where it is the paper's rule.
    """

    rules: Mapping[str, Any] = field(default_factory=dict)
    departs: str = ""


def rules_of(presets: Mapping[str, Preset], options: Any) -> dict[str, Any]:
    """The rules of the preset that was chosen, with those that were set beside it.

    Args:
        presets: by name.
        options: a test's, with `preset`; a field that is called as a rule, and is not None, replaces the preset's.

    Raises:
        XkdError: the test has no such preset.
    """
    check_choice("preset", options.preset, tuple(presets))
    rules = dict(presets[options.preset].rules)
    given = {name: getattr(options, name, None) for name in rules}
    return rules | {name: value for name, value in given.items() if value is not None}


def preset_name(presets: Mapping[str, Preset], protocol: Rules) -> str:
    """The preset whose rules a protocol holds, or "own"."""
    for name, preset in presets.items():
        if all(getattr(protocol, rule) == value for rule, value in preset.rules.items()):
            return name
    return OWN


def preset_facts(presets: Mapping[str, Preset], protocol: Rules) -> dict[str, Any]:
    """What a summary says of the rules, for `Evaluation.extras`: whose they are, and how they depart from the paper."""
    name = preset_name(presets, protocol)
    departs = "rules of the user's own" if name == OWN else presets[name].departs
    return {"preset": {"name": name, "departs_from_paper": departs or None}}


def preset_notes(summary: Mapping[str, Any]) -> list[str]:
    """For `Evaluation.notes`: a sentence where the rules are not the paper's."""
    found = summary.get("preset")
    if not found or not found["departs_from_paper"]:
        return []
    return [f"preset {found['name']}: {found['departs_from_paper']}"]
