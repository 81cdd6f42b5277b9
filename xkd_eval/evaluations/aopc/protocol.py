"""The rules of region perturbation, and whose they are."""

from __future__ import annotations

from dataclasses import dataclass

from xkd_eval.errors import check_choice
from xkd_eval.evaluations.aopc.options import ORDERS, AopcOptions
from xkd_eval.evaluations.forms import FORMS
from xkd_eval.evaluations.infills import DRAWN, SETTLED
from xkd_eval.evaluations.presets import Preset, rules_of
from xkd_eval.evaluations.protocol import Rules

PRESETS = {
    "samek": Preset({"region": 9, "regions": 100, "infill": "noise", "form": "minmax"}),
    "quantus": Preset(
        {"region": 8, "regions": 100, "infill": "lowest", "form": "minmax"},
        "regions of 8 pixels become the image's smallest normalised value over all channels",
    ),
    "latec": Preset(
        {"region": 14, "regions": 10, "infill": "shade", "form": "minmax"},
        "ten regions of 14 pixels, each of which becomes one number from [0, 1] in normalised space",
    ),
}


@dataclass(frozen=True)
class AopcProtocol(Rules):
    """Region perturbation.

    Attributes:
        region: side of a region in pixels, where the image's shorter side has 224.
        regions: how many are replaced, one after the other.
        infill: what a replaced region becomes, of infills.SETTLED or DRAWN.
        form: of the map, of forms.FORMS.
        seed: of the infill and of the random order.
        tie_seed: of the permutation that breaks ties and stands in for degenerate maps.
    """

    region: int = 9
    regions: int = 100
    infill: str = "noise"
    form: str = "minmax"
    seed: int = 0
    tie_seed: int = 0


def aopc_protocol(rules: Rules, options: AopcOptions) -> AopcProtocol:
    """The shared rules with the test's own.

    Raises:
        XkdError: an unknown preset or rule.
    """
    own = rules_of(PRESETS, options)
    check_choice("infill", own["infill"], (*SETTLED, *DRAWN))
    check_choice("form", own["form"], tuple(FORMS))
    check_choice("order", options.order, ("all", *ORDERS))
    return AopcProtocol(**rules.shared(), **own, seed=options.seed)
