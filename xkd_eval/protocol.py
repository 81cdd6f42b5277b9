"""Protocol: the rules that change a number, frozen and hashed.

What belongs to a column of a table (the model, its resolved Preprocess, the explainer, the precision) is recorded
beside a protocol and is not part of its hash: results are comparable when protocol and data digest are equal.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from xkd_eval.classifiers.overrides import with_overrides
from xkd_eval.classifiers.preprocess import Preprocess, Resize
from xkd_eval.errors import XkdError

ProtocolName = Literal["model", "chefer", "exp-kd"]
Fill = Literal["black", "mean", "blur"]
Target = Literal["predicted", "true"]

DEFAULT_FRACTIONS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)

# The published scripts (Chefer et al., CVPR 2021, and Exp-KD's fork of them) feed every network so.
_PUBLISHED = Preprocess(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
_PUBLISHED_MAY_CHANGE = ("interpolation", "mean", "std", "channel_order", "value_range")


@dataclass(frozen=True)
class Protocol:
    """The rules shared by both tests.

    Attributes:
        name: "model", "chefer" or "exp-kd", with "+option,..." behind it where an option departs from the name.
        resize: the geometry rule, "squash" or "crop".
        preprocess: "model" (size, interpolation, mean and std are the model's own) or the values for every model.
        cam_channels: the CAM is a "sum" over channels, or their "mean".
        explained: which class is explained, "predicted" or "true".
        upsampling: of maps to the scored size.
        tie_seed: of the pixel permutation that breaks ties and stands in for degenerate maps.
    """

    name: str = "model"
    resize: Resize = "squash"
    preprocess: str | dict[str, Any] = "model"
    cam_channels: Literal["sum", "mean"] = "sum"
    explained: Target = "predicted"
    upsampling: str = "bilinear, align_corners=False"
    tie_seed: int = 0

    @property
    def hash(self) -> str:
        """12 hexadecimal digits over every rule, the class of the test included."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:12]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as protocol.json holds them."""
        return {"test": type(self).__name__, **json.loads(json.dumps(asdict(self)))}

    def resolve(self, model: Preprocess) -> Preprocess:
        """The input convention under which a model with `model` as its own is scored."""
        if isinstance(self.preprocess, str):
            return replace(model, resize=self.resize)
        return Preprocess.from_dict(self.preprocess)


@dataclass(frozen=True)
class PerturbationProtocol(Protocol):
    """Positive and negative perturbation test.

    Attributes:
        fractions: of the pixels, removed one after the other from the clean image.
        fill: what a removed pixel becomes: black in [0, 1] space, the mean colour, or the blurred image.
        hit: what counts.
        auc: the rule, in words.
    """

    fractions: tuple[float, ...] = DEFAULT_FRACTIONS
    fill: Fill = "black"
    hit: str = "top-1 against the true label"
    auc: str = "trapezoid over 0 and the fractions, clean accuracy at 0, not divided by the range"


@dataclass(frozen=True)
class SegmentationProtocol(Protocol):
    """Segmentation test: a map against the object's mask.

    Attributes:
        size: (H, W) at which every model's map and mask are scored.
        mask_resize: PIL's filter for masks.
        threshold: what is foreground.
        bins: of the histograms behind the precision-recall curve.
    """

    size: tuple[int, int] = (224, 224)
    mask_resize: str = "nearest"
    scaling: str = "min-max per image, after up-sampling, unclamped"
    threshold: str = "strictly above the map's mean"
    bins: int = 256


def perturbation_protocol(
    name: str = "model",
    *,
    target: str = "predicted",
    fractions: tuple[float, ...] = DEFAULT_FRACTIONS,
    fill: str = "black",
    overrides: dict[str, Any] | None = None,
) -> PerturbationProtocol:
    """The named perturbation protocol with the user's options.

    Args:
        name: "model", "chefer" or "exp-kd".
        target: the class to explain, "predicted" or "true".
        fractions: strictly increasing, within (0, 1).
        fill: "black", "mean" or "blur".
        overrides: Preprocess fields that the user set.

    Raises:
        XkdError: an unknown name or value, or an option that the protocol fixes.
    """
    _check_fractions(fractions)
    _check_choice("fill", fill, ("black", "mean", "blur"))
    rules = _shared_rules(name, target, overrides or {})
    protocol = PerturbationProtocol(**rules, fractions=tuple(float(f) for f in fractions), fill=fill)  # type: ignore[arg-type]
    return _renamed(protocol, {"fractions": DEFAULT_FRACTIONS, "fill": "black"}) if name != "model" else protocol


def segmentation_protocol(
    name: str = "model", *, target: str = "predicted", overrides: dict[str, Any] | None = None
) -> SegmentationProtocol:
    """The named segmentation protocol with the user's options; see `perturbation_protocol`."""
    return SegmentationProtocol(**_shared_rules(name, target, overrides or {}))


def _shared_rules(name: str, target: str, overrides: dict[str, Any]) -> dict[str, Any]:
    _check_choice("protocol", name, ("model", "chefer", "exp-kd"))
    _check_choice("target", target, ("predicted", "true"))
    overrides = {key: value for key, value in overrides.items() if value is not None}
    changed = with_overrides(_PUBLISHED, overrides)  # checked here, as no model's own Preprocess sees them
    if name == "model":
        # The model's own convention, corrected by the user, is the model's; the geometry alone is a rule.
        return {"resize": overrides.get("resize", "squash"), "explained": target}
    if name == "exp-kd" and target != "predicted":
        raise XkdError("target true: protocol exp-kd always explains the predicted class; use chefer or model")
    departures = [key for key in changed.to_dict() if getattr(changed, key) != getattr(_PUBLISHED, key)]
    fixed = sorted(set(departures) - set(_PUBLISHED_MAY_CHANGE))
    if fixed:
        raise XkdError(f"{fixed[0]}: protocol {name} is always 224x224, squashed; use `protocol` model to change it")
    return {
        "name": _suffixed(name, departures),
        "preprocess": changed.to_dict(),
        "cam_channels": "mean" if name == "exp-kd" else "sum",
        "explained": target,
    }


def _renamed(protocol: PerturbationProtocol, published: dict[str, Any]) -> PerturbationProtocol:
    changed = [name for name, value in published.items() if getattr(protocol, name) != value]
    return replace(protocol, name=_suffixed(protocol.name, changed))


def _suffixed(name: str, departures: list[str]) -> str:
    if not departures:
        return name
    options = ",".join(option.replace("_", "-") for option in departures)
    return f"{name},{options}" if "+" in name else f"{name}+{options}"


def _check_choice(option: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise XkdError(f"{option}: unknown value {value!r}; expected one of {', '.join(choices)}")


def _check_fractions(fractions: tuple[float, ...]) -> None:
    within = bool(fractions) and all(0 < fraction < 1 for fraction in fractions)
    if not within or list(fractions) != sorted(set(fractions)):
        raise XkdError(
            f"fractions: got {', '.join(map(str, fractions)) or 'none'}; expected increasing values between 0 and 1, "
            "such as 0.1,0.2,0.5"
        )


def differing_fields(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Names of the entries whose values differ, for the sentence that refuses a comparison."""
    missing = object()
    return [key for key in sorted({*ours, *theirs}) if ours.get(key, missing) != theirs.get(key, missing)]
