"""What renames a protocol, what changes its hash, and what is refused."""

import pytest

from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.errors import XkdError
from xkd_eval.evaluations.perturbation.options import PerturbationOptions
from xkd_eval.evaluations.perturbation.protocol import perturbation_protocol as perturbation
from xkd_eval.evaluations.protocol import differing_fields, shared_rules
from xkd_eval.evaluations.segmentation.protocol import SegmentationProtocol


def perturbation_protocol(name="model", *, target="predicted", overrides=None, **options):
    return perturbation(shared_rules(name, target=target, overrides=overrides), PerturbationOptions(**options))


def test_an_override_renames_a_published_protocol_and_changes_its_hash():
    published = perturbation_protocol("exp-kd")
    changed = perturbation_protocol("exp-kd", overrides={"mean": (0.4, 0.4, 0.4), "std": (0.2, 0.2, 0.2)})
    assert published.name == "exp-kd"
    assert changed.name == "exp-kd+mean,std"
    assert changed.hash != published.hash


def test_an_override_equal_to_the_published_value_changes_nothing():
    assert perturbation_protocol("chefer", overrides={"mean": (0.5, 0.5, 0.5)}) == perturbation_protocol("chefer")


def test_neither_the_order_nor_the_type_of_overrides_matters():
    listed = perturbation_protocol("chefer", overrides={"std": [0.2] * 3, "mean": [0.5] * 3, "size": None})
    assert listed == perturbation_protocol("chefer", overrides={"mean": 0.5, "std": 0.2})
    assert listed.name == "chefer+std"


def test_rules_are_in_the_hash():
    options = [{}, {"fill": "mean"}, {"fractions": (0.1, 0.5)}, {"target": "true"}, {"overrides": {"resize": "crop"}}]
    hashes = [perturbation_protocol(**option).hash for option in options]
    assert len(set(hashes)) == len(hashes)


def test_the_models_own_convention_is_not_in_the_hash():
    corrected = perturbation_protocol("model", overrides={"mean": (0.1, 0.1, 0.1)})
    assert corrected.hash == perturbation_protocol("model").hash


def test_the_tests_have_hashes_of_their_own():
    assert perturbation_protocol().hash != SegmentationProtocol().hash


def test_published_protocols_feed_every_model_alike():
    own = Preprocess(size=(64, 64), resize="crop", mean=(0.1, 0.1, 0.1))
    fed = perturbation_protocol("chefer").resolve(own)
    assert (fed.size, fed.resize, fed.mean, fed.std) == ((224, 224), "squash", (0.5,) * 3, (0.5,) * 3)
    assert perturbation_protocol("model").resolve(own) == Preprocess(size=(64, 64), mean=(0.1, 0.1, 0.1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "cheffer"}, "protocol: unknown value 'cheffer'"),
        ({"name": "exp-kd", "target": "true"}, "target true: protocol exp-kd always explains the predicted class"),
        ({"name": "chefer", "overrides": {"size": (256, 256)}}, "size: protocol chefer is always 224x224"),
        ({"name": "chefer", "overrides": {"std": (0.0, 0.5, 0.5)}}, "std: .* found; expected numbers above 0"),
        ({"name": "chefer", "overrides": {"brightness": 2}}, "brightness: unknown"),
        ({"fill": "pink"}, "fill: unknown value 'pink'"),
        ({"fractions": (0.5, 0.1)}, "fractions: got 0.5, 0.1; expected increasing"),
        ({"fractions": (0.5, 1.0)}, "fractions"),
        ({"fractions": ()}, "fractions: got none"),
    ],
)
def test_what_is_refused_names_the_option(options, message):
    with pytest.raises(XkdError, match=message):
        perturbation_protocol(**options)


def test_differing_fields_are_named():
    assert differing_fields({"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 0, "d": 4}) == ["b", "c", "d"]
