"""Is a score shown to be no worse than a margin, shown to be worse, or do the images not decide?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from xkd_eval.comparison.groups import SeedGroup
from xkd_eval.evaluations.scores import ScoreSpec
from xkd_eval.gate.margins import AskedScore
from xkd_eval.statistics.intervals import LEVEL, Interval, corrected_level
from xkd_eval.statistics.rounding import difference_of
from xkd_eval.wording import counted

Verdict = Literal["pass", "fail", "undecided"]

FEW = 10
"""Images that tell two models apart, below which a bootstrap of them is too narrow to decide by."""

_AT_MARGIN = 100
"""A gap to the margin that many times smaller than the interval's half is none."""


@dataclass(frozen=True)
class ScoreVerdict:
    """What is said of one score; values are points for a share, in the score's own unit otherwise.

    Attributes:
        test, score: as the tables of a comparison call them.
        verdict: "pass", "fail" or "undecided".
        margin: by how much the candidate may be worse.
        baseline, candidate: what they score; None where that is undefined.
        difference: by how much the candidate is better, below 0 where it is worse.
        low, high: its 95 % interval.
        high_corrected: upper end of the interval that a "fail" is claimed by, with the level divided among all scores.
        n_images: that the score is of.
        needed: about how many images of the set would decide; None where it is decided, or no number would.
        reason: why it is undecided, or what else must be known; "" for nothing.
        unit: "%" for points, or "".
    """

    test: str
    score: str
    verdict: Verdict
    margin: float
    baseline: float | None
    candidate: float | None
    difference: float | None
    low: float | None
    high: float | None
    high_corrected: float | None
    n_images: int
    needed: int | None = None
    reason: str = ""
    unit: str = "%"

    @property
    def name(self) -> str:
        """As margins call it: with its test."""
        return f"{self.test}.{self.score}"

    @property
    def looks_worse(self) -> bool:
        """Whether the candidate is worse by more than the margin on these images, shown or not."""
        return self.difference is not None and self.difference < -self.margin


@dataclass(frozen=True)
class Seen:
    """What a score's images are able to say.

    Attributes:
        images: how many there are.
        apart: how many of them tell the two models apart; None where the score is no mean over images.
        reach: by how much one image's values can differ at most; None where that is not known.
    """

    images: int
    apart: int | None
    reach: float | None

    @property
    def are_few(self) -> bool:
        """Whether a bootstrap of them is too narrow to decide by."""
        return (self.images if self.apart is None else self.apart) < FEW


def verdict_of(
    asked: AskedScore, baseline: SeedGroup, candidate: SeedGroup, n_asked: int, n_all: int, *, same: bool
) -> ScoreVerdict:
    """The verdict on one score.

    Args:
        asked: the score, and its margin.
        baseline, candidate: on the same images, those that the score is of.
        n_asked: how many scores may fail.
        n_all: images that both score.
        same: whether the two are one model, so that nothing can be worse.
    """
    spec = asked.spec
    plain, wide = (_oriented(found, spec) for found in candidate.difference(baseline, spec, n_asked))
    seen = _seen(spec, baseline, candidate)
    facts: dict[str, Any] = {
        "baseline": _shown(baseline, spec),
        "candidate": _shown(candidate, spec),
        "difference": plain.value,
        "low": plain.low,
        "high": plain.high,
        "high_corrected": wide.high,
    }
    verdict, reason, needed = decided(plain, wide, asked.margin, seen, n_asked)
    if same and plain.value == 0:
        verdict, reason, needed = "pass", "the same model and maps", None
    if needed is not None:
        needed = rounded_up(max(needed * n_all / seen.images, n_all + 1))
        reason += f"about {counted(needed, 'image')} would decide"
    return _verdict(asked, verdict, seen.images, needed=needed, reason=reason, **facts)


def without_images(asked: AskedScore) -> ScoreVerdict:
    """The verdict on a score of the images that both classify correctly, where there is none."""
    return _verdict(asked, "undecided", 0, reason="no image is classified correctly by both")


def decided(
    plain: Interval, wide: Interval, margin: float, seen: Seen, n_asked: int
) -> tuple[Verdict, str, float | None]:
    """Verdict, why it is not decided, and how many images would decide it.

    Args:
        plain: the 95 % interval of the difference, of which more is better.
        wide: the same at the level that is divided among all scores.
        margin: by how much it may be worse.
        seen: what the images are able to say.
        n_asked: how many scores may fail.
    """
    if plain.value is None:
        return "undecided", "undefined for one of the two", None
    if plain.low is None or plain.high is None or wide.high is None:
        return "undecided", "too few images for an interval", None
    low, high = plain.low, wide.high
    few = ""
    if seen.are_few:
        if seen.apart is None or seen.reach is None:
            return "undecided", f"{_few(seen)}: too few to decide by", None
        # One image in so many may be of a kind that none of these is, and differ as far as it can.
        low = min(low, _with_unseen(plain.value, -seen.reach, seen.images, LEVEL))
        high = max(high, _with_unseen(plain.value, seen.reach, seen.images, corrected_level(n_asked)))
        few = f"{_few(seen)}; "
    elif plain.low == plain.high and seen.apart is None:
        return "undecided", "no image moves the difference", None
    if low > -margin:
        return "pass", "", None
    if high < -margin:
        level = f"{100 * corrected_level(n_asked):.4g}"
        return "fail", f"its {level} % interval ends at {high:+.3g}", None
    needed = _needed(plain, wide, margin, seen, n_asked)
    if needed is None:
        return "undecided", f"{few}the difference lies at the margin, where no number of images decides", None
    return "undecided", few, needed


def rounded_up(number: float) -> int:
    """To two significant digits: 121 -> 130, 99.5 -> 100."""
    whole = math.ceil(number)
    step = 10 ** max(len(str(whole)) - 2, 0)
    return -(-whole // step) * step


def _needed(plain: Interval, wide: Interval, margin: float, seen: Seen, n_asked: int) -> float | None:
    """How many images of this kind would decide: half an interval shrinks as one over the root of their number.

    None where the difference lies at the margin.
    """
    assert plain.value is not None and plain.low is not None and wide.high is not None
    gap = plain.value + margin
    half = plain.value - plain.low if gap > 0 else wide.high - plain.value
    if gap == 0 or half > _AT_MARGIN * abs(gap):
        return None
    needed = seen.images * (half / gap) ** 2
    if not seen.are_few or seen.reach is None:
        return needed
    # The share of unseen images that would take the difference to the margin, and how many images leave no room for it.
    room = gap / (plain.value + seen.reach) if gap > 0 else gap / (plain.value - seen.reach)
    tail = (1 - (LEVEL if gap > 0 else corrected_level(n_asked))) / 2
    return max(needed, 1.0 if room >= 1 else math.log(tail) / math.log1p(-room))


def _with_unseen(value: float, theirs: float, images: int, level: float) -> float:
    """The difference where images of a kind that none of these is make up the largest share that goes unseen so often.

    Of a share s, n images show none with the probability (1 - s) ** n: for no event in n, this is the exact interval of
    Clopper and Pearson (Biometrika 1934), 3.7 / n at 95 %.
    """
    share = 1 - ((1 - level) / 2) ** (1 / images)
    return (1 - share) * value + share * theirs


def _seen(spec: ScoreSpec, baseline: SeedGroup, candidate: SeedGroup) -> Seen:
    ours, theirs = candidate.per_image(spec), baseline.per_image(spec)
    if ours is None or theirs is None:
        # Of a photograph that is an image once a label, one: so many are drawn and left out.
        return Seen(len(next(iter(baseline.draws[0].left_out.values()))), None, None)
    defined = np.isfinite(ours) & np.isfinite(theirs)
    apart = int(np.count_nonzero(difference_of(ours[defined], theirs[defined])))
    least, most = spec.range or (None, None)
    reach = None if least is None or most is None else spec.scale * (most - least)
    return Seen(int(defined.sum()), apart, reach)


def _oriented(interval: Interval, spec: ScoreSpec) -> Interval:
    """As it is shown, and so that more is better."""
    if interval.value is None:
        return interval
    value = spec.scale * spec.sign * interval.value + 0.0  # of -0.0, too, which nobody wants to read
    if interval.low is None or interval.high is None:
        return Interval(value, None, None)
    low, high = sorted(spec.scale * spec.sign * bound + 0.0 for bound in (interval.low, interval.high))
    return Interval(value, low, high)


def _shown(group: SeedGroup, spec: ScoreSpec) -> float | None:
    value = group.interval(spec).value
    return None if value is None else spec.scale * value


def _few(seen: Seen) -> str:
    if seen.apart is None:
        return f"it is of {counted(seen.images, 'image')}"
    apart, verb = (f"only {seen.apart}" if seen.apart else "none"), ("tells" if seen.apart == 1 else "tell")
    return f"{apart} of {counted(seen.images, 'image')} {verb} the two apart"


def _verdict(asked: AskedScore, verdict: Verdict, n_images: int, **facts: Any) -> ScoreVerdict:
    values: Mapping[str, Any] = {
        **dict.fromkeys(("baseline", "candidate", "difference", "low", "high", "high_corrected")),
        **facts,
    }
    return ScoreVerdict(
        asked.test, asked.score, verdict, asked.margin, n_images=n_images, unit=asked.spec.unit, **values
    )
