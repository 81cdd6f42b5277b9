"""The rules of performance information curves."""

from __future__ import annotations

from dataclasses import dataclass

from xkd_eval.errors import XkdError, check_choice
from xkd_eval.evaluations.forms import FORMS
from xkd_eval.evaluations.presets import Preset, rules_of
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.evaluations.sic.options import DEFAULT_SHARES, SicOptions

PRESETS = {"pair": Preset({"shares": DEFAULT_SHARES, "start": 0.01, "least": 0.8, "monotone": True, "form": "minmax"})}


@dataclass(frozen=True)
class SicProtocol(Rules):
    """Performance information curves.

    Attributes:
        shares: of the pixels, revealed one after the other.
        start: share of the pixels that the first image is interpolated from.
        least: probability of the clean image below which it has no SIC.
        monotone: whether the curve keeps its highest value.
        form: of the map, of forms.FORMS.
        seed: of the pixels that are drawn for an image.
        tie_seed: of the pixel permutation that breaks ties and stands in for degenerate maps.
    """

    shares: tuple[float, ...] = DEFAULT_SHARES
    start: float = 0.01
    least: float = 0.8
    monotone: bool = True
    form: str = "minmax"
    seed: int = 0
    tie_seed: int = 0


def sic_protocol(rules: Rules, options: SicOptions) -> SicProtocol:
    """The shared rules with the test's own.

    Raises:
        XkdError: an unknown preset or form, or shares that do not increase within (0, 1].
    """
    own = rules_of(PRESETS, options)
    check_choice("form", own["form"], tuple(FORMS))
    shares = own["shares"]
    if not shares or list(shares) != sorted(set(shares)) or not 0 < shares[0] <= shares[-1] <= 1:
        raise XkdError(
            f"shares: got {', '.join(map(str, shares)) or 'none'}; expected increasing values above 0 and up to 1, "
            "such as 0.01,0.1,0.5"
        )
    return SicProtocol(**rules.shared(), **own, seed=options.seed)
