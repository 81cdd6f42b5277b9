"""The rules of the randomisation test."""

from __future__ import annotations

from dataclasses import dataclass

from xkd_eval.errors import XkdError, check_choice
from xkd_eval.evaluations.presets import Preset, rules_of
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.evaluations.randomisation.options import RandomisationOptions
from xkd_eval.evaluations.randomisation.similarity import MEASURES

TENTHS = tuple(step / 10 for step in range(1, 11))
EVERY_LAYER = (0.0,)


@dataclass(frozen=True)
class RandomisationProtocol(Rules):
    """Parameter randomisation.

    Attributes:
        mode: layers are redrawn "cascading", one after the other, or each alone ("independent").
        order: "top_down" or "bottom_up", of the layers as the network defines them.
        layers: "all" that can draw their weights anew, or the "public": those with a method `reset_parameters`, as
            Quantus counts them.
        depths: shares of the layers after which the map is made again; (0,) is after every layer.
        measures: names of MEASURES.
        redrawn: weights are drawn as the layer draws its own ("initial"), or "uniform" in [0, 1).
        seeding: each layer has a seed of its own ("layer"), or all have the "same".
        weight_seed: of the redrawn weights and of the other class.
        random_logit: how the map of another class is compared: "ssim", "flattened" or "off".
        bins: of the histogram whose entropy is a map's complexity.
    """

    mode: str = "cascading"
    order: str = "top_down"
    layers: str = "all"
    depths: tuple[float, ...] = TENTHS
    measures: tuple[str, ...] = tuple(MEASURES)
    redrawn: str = "initial"
    seeding: str = "layer"
    weight_seed: int = 0
    random_logit: str = "ssim"
    bins: int = 100

    @property
    def abscissae(self) -> tuple[float, ...]:
        """The shares of the layers at which the curve has its points, the same for every network."""
        return TENTHS if self.depths == EVERY_LAYER else self.depths

    @property
    def ends_untrained(self) -> bool:
        """Whether nothing learned is left at the last depth, as efficient MPRT has it."""
        return self.mode == "cascading" and self.abscissae[-1] == 1


_PAPER = {
    "mode": "cascading",
    "order": "top_down",
    "layers": "all",
    "depths": TENTHS,
    "measures": tuple(MEASURES),
    "redrawn": "initial",
    "seeding": "layer",
    "weight_seed": 0,
    "random_logit": "ssim",
    "bins": 100,
}
PRESETS = {
    "paper": Preset(_PAPER),
    "quantus": Preset(
        {
            **_PAPER,
            "layers": "public",
            "depths": EVERY_LAYER,
            "measures": ("absolute",),
            "seeding": "same",
            "weight_seed": 43,
            "random_logit": "flattened",
        },
        "the layers are redrawn from one seed, so that equal shapes get equal weights, and torch's attention keeps its "
        "queries, keys and values; the map of another class is compared as one line of pixels, row after row",
    ),
    "xplique": Preset(
        {**_PAPER, "depths": (0.25,), "measures": ("spearman",), "redrawn": "uniform"},
        "the top quarter of the layers is redrawn at once, uniformly from [0, 1), which no network begins with",
    ),
    "efficient": Preset(
        {
            **_PAPER,
            "order": "bottom_up",
            "layers": "public",
            "depths": (1.0,),
            "measures": ("absolute",),
            "seeding": "same",
            "weight_seed": 43,
            "random_logit": "off",
        },
        "all layers but torch's attention are redrawn at once, and the maps' complexity is compared (Hedström et al., "
        "2023)",
    ),
}


def randomisation_protocol(rules: Rules, options: RandomisationOptions) -> RandomisationProtocol:
    """The shared rules with the test's own.

    Raises:
        XkdError: a preset, a mode, an order, a measure or a comparison that there is not; depths that are none.
    """
    found = rules_of(PRESETS, options)
    check_choice("mode", found["mode"], ("cascading", "independent"))
    check_choice("order", found["order"], ("top_down", "bottom_up"))
    check_choice("layers", found["layers"], ("all", "public"))
    check_choice("random_logit", found["random_logit"], ("ssim", "flattened", "off"))
    found["depths"], found["measures"] = _depths(found["depths"]), _measures(found["measures"])
    if not 0 <= found["weight_seed"] < 2**62:
        raise XkdError(f"weight_seed: {found['weight_seed']} found; expected a whole number from 0 to 2^62")
    return RandomisationProtocol(**rules.shared(), **found)


def _depths(given: tuple[float, ...]) -> tuple[float, ...]:
    depths = tuple(float(depth) for depth in given)
    if depths == EVERY_LAYER:
        return depths
    if not depths or list(depths) != sorted(set(depths)) or not all(0 < depth <= 1 for depth in depths):
        raise XkdError(
            f"depths: got {', '.join(map(str, depths)) or 'none'}; expected increasing shares of the layers above 0 "
            "and up to 1, such as 0.25,0.5,1, or 0 alone for every layer"
        )
    return depths


def _measures(given: tuple[str, ...]) -> tuple[str, ...]:
    for name in given:
        check_choice("measures", name, tuple(MEASURES))
    if not given or len(set(given)) < len(given):
        raise XkdError(f"measures: got {', '.join(given) or 'none'}; expected some of {', '.join(MEASURES)}, each once")
    return tuple(given)
