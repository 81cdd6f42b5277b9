"""The rules that change a number, frozen and hashed: those that all tests share, by the names they are published under.

What belongs to a column of a table (the model, its resolved Preprocess, the explainer, the precision) is recorded
beside the rules and is not part of their hash: results are comparable when protocol hash and data digest are equal.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, Self

from xkd_eval.classifiers.overrides import with_overrides
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.digests import digest_of
from xkd_eval.errors import XkdError, check_choice

Target = Literal["predicted", "true", "reference"]
"""Which class is explained: the model's own prediction, the label, or the reference model's prediction."""

PROTOCOLS = ("model", "chefer", "exp-kd")

# The published scripts (Chefer et al., CVPR 2021, and Exp-KD's fork of them) feed every network so.
_PUBLISHED = Preprocess(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
_PUBLISHED_MAY_CHANGE = ("interpolation", "mean", "std", "channel_order", "value_range")


@dataclass(frozen=True)
class Rules:
    """The rules shared by all tests. A test's protocol is a subclass that adds its own.

    Every field is read by the computation. The name alone is not: it stands in tables and not in the hash.

    Attributes:
        name: "model", "chefer" or "exp-kd", with "+option,..." behind it where an option departs from the name.
        preprocess: fields of Preprocess that are the same for every model; the others are the model's own.
        cam_channels: the CAM is a "sum" over channels, or their "mean".
        target: which class is explained.
        probability: of a class: by "softmax" over all of them, or, where a photograph may hold several, its own
            "sigmoid". The first is left out of the hash and of `to_dict`, as rules are that are older than the choice.
    """

    name: str = "model"
    preprocess: dict[str, Any] = field(default_factory=lambda: {"resize": "squash"})
    cam_channels: Literal["sum", "mean"] = "sum"
    target: Target = "predicted"
    probability: Literal["softmax", "sigmoid"] = "softmax"

    @property
    def hash(self) -> str:
        """12 hexadecimal digits over every rule but the name, and the class of the protocol."""
        rules = {name: value for name, value in self.to_dict().items() if name != "name"}
        return digest_of(rules)[:12]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as protocol.json holds them."""
        values = {"test": type(self).__name__, **json.loads(json.dumps(asdict(self)))}
        if self.probability == "softmax":
            del values["probability"]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of to_dict; other keys are left out."""
        known = {known.name for known in fields(cls)}
        taken = {name: _frozen(value) for name, value in values.items() if name in known}
        return cls(**taken)

    def resolve(self, model: Preprocess) -> Preprocess:
        """The input convention under which a model with `model` as its own is scored."""
        return Preprocess.from_dict({**model.to_dict(), **self.preprocess})

    def but(self, published: Mapping[str, Any]) -> Self:
        """Named after the rules in which it departs from the published values, where it has a published name."""
        departures = [name for name, value in published.items() if getattr(self, name) != value]
        return self if self.name == "model" else replace(self, name=_suffixed(self.name, departures))

    def shared(self) -> dict[str, Any]:
        """The fields of Rules, to make a test's protocol of."""
        return {known.name: getattr(self, known.name) for known in fields(Rules)}


def shared_rules(
    name: str = "model", *, target: str = "predicted", overrides: Mapping[str, Any] | None = None
) -> Rules:
    """The rules of a named protocol with the user's options.

    Args:
        name: "model" (each model's own input convention), "chefer" or "exp-kd" (as published).
        target: the class to explain, "predicted" or "true".
        overrides: Preprocess fields that the user set; None counts as not set.

    Raises:
        XkdError: an unknown name or value, or an option that the protocol fixes.
    """
    check_choice("protocol", name, PROTOCOLS)
    check_choice("target", target, ("predicted", "true"))
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    changed = with_overrides(_PUBLISHED, given)  # checked here, as no model's own Preprocess sees them
    if name == "model":
        # The model's own convention, corrected by the user, is the model's; the geometry alone is a rule.
        return Rules(preprocess={"resize": given.get("resize", "squash")}, target=target)  # type: ignore[arg-type]
    if name == "exp-kd" and target != "predicted":
        raise XkdError("target true: protocol exp-kd always explains the predicted class; use chefer or model")
    departures = [key for key in changed.to_dict() if getattr(changed, key) != getattr(_PUBLISHED, key)]
    fixed = sorted(set(departures) - set(_PUBLISHED_MAY_CHANGE))
    if fixed:
        raise XkdError(f"{fixed[0]}: protocol {name} is always 224x224, squashed; use `protocol` model to change it")
    return Rules(
        name=_suffixed(name, departures),
        preprocess=changed.to_dict(),
        cam_channels="mean" if name == "exp-kd" else "sum",
        target=target,  # type: ignore[arg-type]
    )


def of_label_sets(rules: Rules) -> Rules:
    """The rules on photographs that may hold several classes: each label is explained, by its own probability.

    Raises:
        XkdError: a protocol that explains another class.
    """
    if rules.name.startswith("exp-kd"):
        raise XkdError(
            "protocol exp-kd: it explains the predicted class, and the photographs have several labels, each of which "
            "is explained; use chefer or model"
        )
    return replace(rules, target="true", probability="sigmoid")


def differing_fields(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Names of the entries whose values differ, for the sentence that refuses a comparison."""
    missing = object()
    return [key for key in sorted({*ours, *theirs}) if ours.get(key, missing) != theirs.get(key, missing)]


def _suffixed(name: str, departures: list[str]) -> str:
    if not departures:
        return name
    options = ",".join(option.replace("_", "-") for option in departures)
    return f"{name},{options}" if "+" in name else f"{name}+{options}"


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
