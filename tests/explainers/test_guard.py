"""What every call of an explainer is owed: its own classifier, plain torch, a checked result, its name in the error."""

import random
import sys
import threading
import warnings
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.errors import ExplainerError, XkdError
from xkd_eval.explainers import EXPLAINERS, Context, Explainer, create_explainer, list_explainers
from xkd_eval.testing.networks import small_classifier

SHORT = {
    "integrated_gradients": {"steps": 3},
    "gradient_shap": {"samples": 3},
    "occlusion": {"windows": 2},
    "feature_ablation": {"segments": 4},
}
OURS = [
    create_explainer(found.name, **SHORT.get(found.name, {}))
    for found in list_explainers()
    if EXPLAINERS.is_own(found.name)
]
_HOLDING: dict[str, list[Explainer]] = {}


def holding(classifier: Classifier) -> list[Explainer]:
    """Ours that hold for a classifier, asked once an architecture."""
    if classifier.name not in _HOLDING:
        _HOLDING[classifier.name] = [explainer for explainer in OURS if _holds(explainer, classifier)]
    return _HOLDING[classifier.name]


def _holds(explainer: Explainer, classifier: Classifier) -> bool:
    try:
        explainer.check(classifier)
    except ExplainerError:
        return False
    return True


def context(images: torch.Tensor) -> Context:
    masks = torch.ones(len(images), *images.shape[2:], dtype=torch.int8)
    return Context(ids=tuple(map(str, range(len(images)))), masks=masks)


@contextmanager
def odd_defaults():
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)


STATES = {
    "training": (lambda made: made.train(), torch.no_grad),
    "double": (lambda made: made.double(), torch.no_grad),
    "channels last": (lambda made: made.to(memory_format=torch.channels_last), torch.no_grad),
    "inference": (lambda made: made, torch.inference_mode),
    "autocast": (lambda made: made, lambda: torch.autocast("cpu", dtype=torch.bfloat16)),
    "other defaults": (lambda made: made, odd_defaults),
}


@pytest.mark.parametrize(
    ("network", "state"),
    [
        *(("classifier", state) for state in STATES),
        ("torchvision_vit", "double"),
        ("torchvision_vit", "other defaults"),
    ],
)
def test_no_state_of_network_or_caller_changes_a_map(network, state, request, images, classes):
    classifier = request.getfixturevalue(network)
    images, classes, explainers = images[:2], classes[:2], holding(classifier)
    known = context(images)
    expected = [explainer(classifier, images, classes, known) for explainer in explainers]
    change, around = STATES[state]
    change(classifier)
    before, flags = classifier.digest(), [module.training for module in classifier.modules()]
    with around():
        found = [explainer(classifier, images, classes, known) for explainer in explainers]
    for explainer, ours, theirs in zip(explainers, found, expected, strict=True):
        assert torch.equal(ours, theirs), explainer.name
    assert classifier.digest() == before
    assert [module.training for module in classifier.modules()] == flags


@pytest.mark.parametrize("network", ["classifier", "torchvision_vit"])
def test_threads_that_share_a_classifier_get_their_own_maps(network, request, images, classes):
    classifier = request.getfixturevalue(network)
    classifier.model.train()
    jobs = [(explainer, slice(place, place + 1)) for explainer in holding(classifier) for place in range(2)]
    expected = [explainer(classifier, images[one], classes[one], context(images[one])) for explainer, one in jobs]
    filters, stderr, drawn = list(warnings.filters), sys.stderr, torch.get_rng_state()
    wrong: list[object] = []

    def work(seed: int) -> None:
        for number in random.Random(seed).sample(range(len(jobs)), len(jobs)):
            explainer, one = jobs[number]
            try:
                maps = explainer(classifier, images[one], classes[one], context(images[one]))
            except Exception as error:
                wrong.append((explainer.name, error))
            else:
                wrong.extend([explainer.name] * (not torch.equal(maps, expected[number])))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.setswitchinterval(interval)
    assert not wrong
    assert (list(warnings.filters), sys.stderr) == (filters, stderr) and torch.equal(torch.get_rng_state(), drawn)
    assert classifier.model.training and not any(module._forward_hooks for module in classifier.modules())


@dataclass(frozen=True)
class Brightness(Explainer):
    name = "brightness"
    citation = "none"
    cost = "0"

    def __call__(self, classifier, images, classes, context=None):
        return images.mean(1)


def returning(body) -> Explainer:
    """An outsider's, whose call is `body(images)`."""
    call = lambda self, classifier, images, classes, context=None: body(images)  # noqa: E731
    return type("Outsiders", (Brightness,), {"__call__": call})()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (lambda images: images[0, 0], r"a float32 tensor \(32, 32\); expected floats \(3, h, w\), a map an image"),
        (lambda images: images, r"a float32 tensor \(3, 3, 32, 32\)"),
        (lambda images: images[:2, 0], r"a float32 tensor \(2, 32, 32\)"),
        (lambda images: images[:, 0, :0], r"a float32 tensor \(3, 0, 32\)"),
        (lambda images: images[:, 0].numpy(), "a NumPy array of float32 .*, as a tensor"),
        (lambda images: images[:, 0].tolist(), "a list"),
        (lambda images: (images[:, 0],), "a tuple"),
        (lambda images: None, "a NoneType"),
        (lambda images: images[:, 0].long(), "a int64 tensor"),
        (lambda images: images[:, 0] > 0, "a bool tensor"),
        (lambda images: images[:, 0] * 1j, "a complex64 tensor"),
        (lambda images: images[:, 0].to_sparse(), r"a tensor torch\.sparse_coo on cpu"),
        (lambda images: images[:, 0].to("meta"), r"a tensor torch\.strided on meta"),
        (lambda images: images[:, 0].double() * 1e300, "values beyond what float32 holds; scale its maps"),
    ],
)
def test_what_is_no_batch_of_maps_is_refused_with_the_explainers_name(body, message, classifier, images, classes):
    with pytest.raises(ExplainerError, match=f"^explainer 'brightness': it returned .*{message}"):
        returning(body)(classifier, images, classes)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_become_float32_without_gradient(dtype, classifier, images, classes):
    maps = returning(lambda images: images[:, 0].to(dtype).requires_grad_())(classifier, images, classes)
    assert maps.dtype == torch.float32 and not maps.requires_grad
    assert torch.equal(maps, images[:, 0].to(dtype).float())


def test_what_a_method_keeps_or_overwrites_is_not_the_callers(classifier, images, classes):
    kept = torch.zeros(3, 32, 32)
    method = returning(lambda images: kept.copy_(images.mul_(2)[:, 0]))
    before = images.clone()
    first = method(classifier, images, classes)
    assert torch.equal(images, before) and torch.equal(first, 2 * before[:, 0])
    method(classifier, -images, classes)
    assert torch.equal(first, 2 * before[:, 0])


def test_a_method_that_fails_is_named_with_the_place_and_its_cause_is_kept(classifier, images, classes):
    def fail(images):
        raise KeyError("layer9\nmore")

    pattern = r"^explainer 'brightness': it failed \(KeyError: .layer9.*, in test_guard\.py:\d+\); mend it"
    with pytest.raises(ExplainerError, match=pattern) as caught:
        returning(fail)(classifier, images, classes)
    assert isinstance(caught.value.__cause__, KeyError) and "\n" not in str(caught.value)


def test_what_a_failing_method_did_to_its_classifier_is_gone(classifier, images, classes):
    class Spoiling(Brightness):
        def __call__(self, classifier, images, classes, context=None):
            classifier.train().requires_grad_(True)
            classifier.model.head.register_forward_hook(lambda *_: None)
            classifier.model.features[1].running_mean += 1
            raise ExplainerError("explainer 'brightness': not today")

    before = classifier.digest()
    with pytest.raises(ExplainerError, match="not today"):
        Spoiling()(classifier, images, classes)
    assert classifier.digest() == before and not classifier.model.head._forward_hooks
    assert not any(module.training for module in classifier.model.modules())
    assert not any(parameter.requires_grad for parameter in classifier.parameters())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((3, 3, 32, 32))}, "images: a NumPy array"),
        ({"classes": torch.tensor([0, 1])}, r"classes: a int64 tensor \(2,\) found; expected int64 \(3,\)"),
        ({"classes": torch.tensor([0, 1, 5])}, "classes: from 0 to 5 found"),
        ({"classes": torch.tensor([0.0, 1.0, 2.0])}, "classes: a float32 tensor"),
        ({"classifier": torch.nn.Identity()}, "classifier: a Identity found; expected a Classifier"),
    ],
)
def test_what_is_given_is_checked_once_for_all(change, message, classifier, images, classes):
    given = {"classifier": classifier, "images": images, "classes": classes, **change}
    with pytest.raises(XkdError, match=f"^{message}"):
        Brightness()(given["classifier"], given["images"], given["classes"])


@dataclass(frozen=True)
class Writing(Explainer):
    name, citation, cost = "writing", "none", "0"

    def __call__(self, classifier, images, classes, context=None):
        with torch.no_grad():
            next(classifier.parameters()).neg_()
        return images[:, 0]


def test_an_explainer_that_writes_to_the_weights_is_refused():
    """They are shared, so that all later maps would be of another network."""
    classifier = small_classifier()
    with pytest.raises(ExplainerError, match=r"^explainer 'writing': it wrote to the classifier's weights"):
        Writing()(classifier, torch.zeros(1, 3, 32, 32), torch.tensor([0]))
