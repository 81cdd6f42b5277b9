"""The rules of the faithfulness test, and what they may be."""

from __future__ import annotations

import math
from dataclasses import dataclass

from xkd_eval.errors import XkdError, check_choice
from xkd_eval.evaluations.faithfulness.fills import DRAWN
from xkd_eval.evaluations.faithfulness.options import FaithfulnessOptions
from xkd_eval.evaluations.faithfulness.presets import PRESETS, UNREAD
from xkd_eval.evaluations.forms import FORMS
from xkd_eval.evaluations.infills import SETTLED
from xkd_eval.evaluations.presets import rules_of
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.evaluations.removal import ANSWERS
from xkd_eval.evaluations.words import MOST


@dataclass(frozen=True)
class FaithfulnessProtocol(Rules):
    """One measure of faithfulness.

    Attributes:
        measure: "correlation", "estimate", "sensitivity_n", "cumulative", "monotonicity" or
            "monotonicity_correlation".
        form: of the maps, see FORMS.
        answer: "probability" or "logit" of the target class.
        fill: what removed places become, of infills.SETTLED or fills.DRAWN.
        units: what is removed: "cells" of the image, or single channel "values".
        groups: number of cells, a square; or of groups of values, by rank.
        removed: share of the units in a subset; the shares of a curve, for sensitivity_n and cumulative.
        draw: "each" unit is removed with probability `removed`; or subsets of "fixed" size.
        samples: subsets an image, or fills a group.
        statistic: "pearson" or "spearman".
        seed: of what is drawn.
        tie_seed: of the pixel permutation that breaks ties and stands in for degenerate maps.
    """

    measure: str = "correlation"
    form: str = "minmax"
    answer: str = "probability"
    fill: str = "mean"
    units: str = "cells"
    groups: int = 81
    removed: tuple[float, ...] = (0.2,)
    draw: str = "each"
    samples: int = 200
    statistic: str = "spearman"
    seed: int = 0
    tie_seed: int = 0


def faithfulness_protocol(rules: Rules, options: FaithfulnessOptions) -> FaithfulnessProtocol:
    """The shared rules with the test's own.

    Raises:
        XkdError: an unknown preset; an option that its measure does not read, or a value that it cannot take.
    """
    protocol = FaithfulnessProtocol(**rules.shared(), **rules_of(PRESETS, options))
    for name in UNREAD[protocol.measure, protocol.units]:
        if getattr(options, name) is not None:
            raise XkdError(f"{name}: preset {options.preset} reads none; leave it out")
    _check(protocol)
    return protocol


def _check(protocol: FaithfulnessProtocol) -> None:
    measure, groups = protocol.measure, protocol.groups
    check_choice("form", protocol.form, tuple(FORMS))
    check_choice("answer", protocol.answer, ANSWERS)
    check_choice("fill", protocol.fill, (*SETTLED, *DRAWN))
    if measure.startswith("monotonicity") and protocol.answer != "probability":
        raise XkdError(f"answer: {protocol.answer} found; {measure} is of probabilities")
    if (measure == "monotonicity_correlation") != (protocol.fill in DRAWN):
        drawn = "several fills of one part, drawn" if protocol.fill not in DRAWN else "one fill, the same for all parts"
        raise XkdError(f"fill: {protocol.fill} found; {measure} takes {drawn}")
    side = math.isqrt(max(groups, 0))
    if protocol.units == "cells" and (groups < 4 or side * side != groups):
        raise XkdError(f"groups: {groups} found; expected a square number of cells from 4, such as 49, 81 or 196")
    if groups > MOST:
        raise XkdError(f"groups: {groups} found; expected no more than {MOST}")
    if groups < 3 and "groups" not in UNREAD[measure, protocol.units]:
        raise XkdError(f"groups: {groups} found; a correlation takes at least 3")
    least = 1 if measure == "monotonicity_correlation" else 3
    if not least <= protocol.samples <= MOST:
        raise XkdError(f"samples: {protocol.samples} found; expected {least} to {MOST}")
    _check_removed(protocol)


def _check_removed(protocol: FaithfulnessProtocol) -> None:
    shares = protocol.removed
    several = protocol.measure in ("sensitivity_n", "cumulative")
    within = bool(shares) and all(0 < share < 1 for share in shares)
    if not within or list(shares) != sorted(set(shares)) or (len(shares) > 1 and not several):
        expected = "increasing shares" if several else "one share"
        raise XkdError(
            f"removed: {', '.join(map(str, shares)) or 'none'} found; expected {expected} between 0 and 1, such as "
            f"{'0.05,0.1,0.2' if several else '0.2'}"
        )
