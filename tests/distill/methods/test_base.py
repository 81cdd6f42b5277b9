"""The contract that every method keeps, and the messages of bad options."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from distill.methods import METHODS, create_method
from distill.methods.at import at_loss
from tests.distill.methods.conftest import random_pass
from xkd_eval.errors import XkdError

# All but those that differentiate a network, of which a pass of tensors knows nothing.
TAKING_PASSES = [name for name in METHODS.names() if name not in ("e2kd", "explanation_kd")]
OPTIONS = {"crd": {"negatives": 8}}


def _prepared(name, student, teacher):
    method = create_method(name, **OPTIONS.get(name, {}))
    method.see_labels(torch.arange(20) % 6)
    method.setup(student, teacher, dataset_size=20)
    return method


@pytest.mark.parametrize("name", TAKING_PASSES)
def test_terms_are_positive_scalars_that_move_the_student(name, student, teacher, labels):
    method = _prepared(name, student, teacher)
    terms = method(student, teacher, labels, torch.arange(len(labels)))
    assert all(term.shape == () for term in terms.values())
    assert all(term.startswith(name) for term in terms)
    total = sum(terms.values())
    assert torch.isfinite(total)
    assert total > 0
    leaves = [student.features, *student.taps.values()]
    gradients = torch.autograd.grad(total, leaves, allow_unused=True)
    assert sum(gradient.abs().sum() for gradient in gradients if gradient is not None) > 0


@pytest.mark.parametrize("name", TAKING_PASSES)
def test_every_adapter_parameter_trains(name, student, teacher, labels):
    method = _prepared(name, student, teacher)
    sum(method(student, teacher, labels, torch.arange(len(labels))).values()).backward()
    untrained = [key for key, value in method.named_parameters() if value.requires_grad and value.grad is None]
    assert untrained == []


@pytest.mark.parametrize("name", ["kd", "dkd", "dist", "exp_kd", "cat_kd", "at", "sp", "rkd", "pkt", "nst"])
def test_a_student_equal_to_its_teacher_loses_nothing(name, teacher, labels):
    terms = create_method(name)(teacher, teacher, labels)
    # DIST guards its correlations by 1e-8, which shows where a class is improbable in the whole batch.
    assert sum(terms.values()).item() == pytest.approx(0, abs=1e-4 if name == "dist" else 1e-7)


@pytest.mark.parametrize("name", TAKING_PASSES)
def test_float32_whatever_the_passes_hold(name, labels):
    halves = [random_pass(8, 4, True, torch.bfloat16), random_pass(8, 4, False, torch.bfloat16)]
    method = _prepared(name, *halves)
    with torch.autocast("cpu", torch.bfloat16):
        terms = method(*halves, labels, torch.arange(len(labels)))
    assert {term.dtype for term in terms.values()} == {torch.float32}


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_of_shares_is_the_mean_of_their_classes(student, labels, smoothing):
    ce, other = create_method("ce", label_smoothing=smoothing), labels.roll(1)
    classes = student.logits.shape[1]
    shares = 0.7 * torch.nn.functional.one_hot(labels, classes) + 0.3 * torch.nn.functional.one_hot(other, classes)
    expected = 0.7 * ce(student, None, labels)["ce"] + 0.3 * ce(student, None, other)["ce"]
    torch.testing.assert_close(ce(student, None, shares)["ce"], expected)
    with pytest.raises(XkdError, match="labels: shares of classes found that are negative or do not sum to 1"):
        ce(student, None, 2 * shares)
    with pytest.raises(XkdError, match=r"labels: torch\.float32 .* found; expected shares"):
        ce(student, None, shares[:, 1:])
    with pytest.raises(XkdError, match=r"labels: torch\.float32 .* found; expected int64 \(B,\)"):
        create_method("dkd")(student, student, shares)


def test_cross_entropy_needs_no_teacher(student, labels):
    terms = create_method("ce")(student, None, labels)
    by_hand = -torch.stack([student.logits[row].log_softmax(0)[label] for row, label in enumerate(labels)]).mean()
    torch.testing.assert_close(terms["ce"], by_hand)
    with pytest.raises(XkdError, match="teacher: none given; kd distils from one"):
        create_method("kd")(student, None, labels)


def test_every_method_is_there_and_cites_its_source():
    expected = "ce kd tf_kd dkd dist fitnet at sp rkd crd reviewkd ofd cat_kd sdd e2kd exp_kd pkt nst "
    expected += "explanation_kd mld mlkd token_kd norm vitkd simkd srd ttm wttm vid"
    assert sorted(METHODS.names()) == sorted(expected.split())
    for name in METHODS.names():
        assert METHODS[name].citation


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("expkd", {}, r"method: unknown 'expkd'; nearest: exp_kd"),
        ("kd", {"temprature": 2}, r"kd: unknown option 'temprature'; nearest: temperature"),
        ("sp", {"weight": 2}, r"sp: unknown option 'weight'; it takes none"),
        ("kd", {"temperature": 0}, r"temperature: 0 found; expected a number above 0"),
        ("kd", {"temperature": "4"}, r"temperature: '4' found"),
        ("kd", {"temperature": float("nan")}, r"temperature: nan found"),
        ("kd", {"temperature": float("inf")}, r"temperature: inf found; expected a number above 0"),
        ("kd", {"standardise": "False"}, r"standardise: 'False' found; expected one of True, False"),
        ("ce", {"label_smoothing": 1.0}, r"label_smoothing: 1.0 found"),
        ("ce", {"label_smoothing": "0.1"}, r"label_smoothing: '0.1' found; expected a number from 0 to below 1"),
        ("cat_kd", {"grid": 2.5}, r"grid: 2.5 found; expected an integer of at least 1"),
        ("at", {"student_taps": "layer1"}, r"student_taps: 'layer1' found; expected a list of str"),
        ("sdd", {"scales": 2}, r"scales: 2 found; expected a list of int"),
        ("exp_kd", {"channel": "max"}, r"channel: 'max' found; expected one of 'mean', 'sum'"),
        ("exp_kd", {"top_k": 1}, r"top_k: 1 found; expected an integer of at least 2"),
        ("exp_kd", {"resize": "smaller"}, r"resize: 'smaller' found"),
        ("exp_kd", {"reading": "author", "clamp": False}, r"clamp: False found with the reading 'author'"),
        ("sdd", {"scales": []}, r"scales: empty"),
        ("e2kd", {"explanation": "lime"}, r"explanation: 'lime' found"),
        ("crd", {"momentum": 1}, r"momentum: 1 found"),
    ],
)
def test_bad_options_are_named(name, options, message):
    with pytest.raises(XkdError, match=message):
        create_method(name, **options)


def test_passes_that_do_not_fit_are_named(student, teacher, labels):
    with pytest.raises(XkdError, match=r"kd: the student's logits are \(5, 6\) and the teacher's \(5, 3\)"):
        create_method("kd")(student, replace(teacher, logits=teacher.logits[:, :3]), labels)
    with pytest.raises(XkdError, match="features: the pass has none"):
        create_method("exp_kd")(replace(student, features=None), teacher, labels)
    with pytest.raises(XkdError, match=r"3 student taps .* and 1 teacher taps"):
        create_method("at", teacher_taps=["stage1"])(student, teacher, labels)
    with pytest.raises(XkdError, match="student_taps: 'layer9' is not among the taps"):
        create_method("at", student_taps=["layer9"])(student, teacher, labels)
    with pytest.raises(XkdError, match="top_k: 50 found; the teacher has 6 classes"):
        create_method("exp_kd", top_k=50)(student, teacher, labels)
    with pytest.raises(XkdError, match=r"maps of \(4, 4\) cannot be averaged to \(5, 5\)"):
        create_method("cat_kd", grid=5)(student, teacher, labels)
    with pytest.raises(XkdError, match="teacher_taps: number 1 has no negative value"):
        relu = replace(teacher, taps={path: tap.relu() for path, tap in teacher.taps.items()})
        create_method("ofd").setup(student, relu, dataset_size=1)
    with pytest.raises(XkdError, match="indices: none given"):
        _prepared("crd", student, teacher)(student, teacher, labels)


NEEDED = {
    "rkd": (3, 2),
    "sp": (2, 2),
    "pkt": (2, 2),
    "dist": (2, 2),
    "reviewkd": (2, 2),
    "norm": (2, 2),
    "ofd": (2, 2),
    "srd": (2, 2),
    "simkd": (2, 2),
    "fitnet": (2, 2),
}


@pytest.mark.parametrize("name", TAKING_PASSES)
def test_what_a_loss_needs_it_says(name, student, teacher, labels):
    """Below it they are undefined, or constant; no batch at all is too small for every one."""
    images, classes = NEEDED.get(name, (1, 2))
    method = _prepared(name, student, teacher)

    def losses(batch, kinds):
        own, other = (_part(network, batch, kinds) for network in (student, teacher))
        return method(own, other, labels[:batch] % kinds, torch.arange(batch))

    for fewer in {0, images - 1}:
        with pytest.raises(XkdError, match=rf"{name}: a batch of {fewer} found; it needs {images} images or more"):
            losses(fewer, 6)
    with pytest.raises(XkdError, match=rf"{name}: logits of 1 found; it needs {classes} classes or more"):
        losses(5, 1)
    for enough in (losses(images, 6), losses(5, classes)):
        assert all(bool(loss.isfinite()) for loss in enough.values())
    with pytest.raises(XkdError, match="labels: 4 found; expected one for each of 5 images"):
        method(student, teacher, labels[:4], torch.arange(4))


def _part(network, batch, classes):
    """The pass of the first images, by a head of the first classes."""
    cut = {path: tap[:batch] for path, tap in network.taps.items()}
    head = {"head_weight": network.head_weight[:classes], "head_bias": network.head_bias[:classes]}
    head["distilled_logits"] = network.distilled_logits[:batch, :classes]
    return replace(
        network, logits=network.logits[:batch, :classes], features=network.features[:batch], taps=cut, **head
    )


NO_LABELS = {
    "-100": torch.tensor([0, 1, -100, 3, 4]),
    "6": torch.tensor([0, 1, 6, 3, 4]),
    r"torch.float32 \(5,\)": torch.arange(5.0),
    r"torch.int32 \(5,\)": torch.arange(5).int(),
    r"torch.int64 \(5, 1\)": torch.arange(5)[:, None],
    "a list": [0, 1, 2, 3, 4],
    "a NoneType": None,
    "4": torch.arange(4),
}


@pytest.mark.parametrize("found", NO_LABELS)
@pytest.mark.parametrize("name", ["ce", "dkd", "kd", "sp"])
def test_labels_are_refused_by_name(name, found, student, teacher):
    """Cross-entropy leaves out -100 in silence, and takes a float tensor (B, K) for probabilities."""
    with pytest.raises(XkdError, match=rf"labels: {found} found; expected"):
        create_method(name)(student, teacher, NO_LABELS[found], torch.arange(5))


@pytest.mark.parametrize("name", TAKING_PASSES)
def test_a_teacher_of_other_images_is_refused(name, student, teacher, labels):
    """One image would be broadcast to all of the student's."""
    with pytest.raises(XkdError, match=r"teacher: logits of 1 images found; expected 5"):
        _prepared(name, student, teacher)(student, _part(teacher, 1, 6), labels, torch.arange(5))


def test_features_of_other_images_are_refused(student, teacher, labels):
    with pytest.raises(XkdError, match=r"teacher: features of 1 images found; expected 5"):
        create_method("sp")(student, replace(teacher, features=teacher.features[:1]), labels)


@pytest.mark.parametrize(("place", "found"), [(-1, "-1"), (20, "20")])
def test_a_place_outside_of_the_training_set_is_refused(place, found, student, teacher, labels):
    """-1 would read and write the memory of the last image."""
    with pytest.raises(XkdError, match=rf"indices: {found} found; expected numbers"):
        _prepared("crd", student, teacher)(student, teacher, labels, torch.tensor([0, 1, place, 3, 4]))


@pytest.mark.parametrize("name", ["fitnet", "ofd", "reviewkd", "crd"])
def test_what_is_not_set_up_says_so(name, student, teacher, labels):
    with pytest.raises(XkdError, match=rf"{name}: it is not set up; call `setup`"):
        create_method(name)(student, teacher, labels, torch.arange(5))


@pytest.mark.parametrize("power", [0.25, 0.5, 1.0, 2.0])
def test_attention_of_zeros_has_a_slope(power):
    maps = torch.rand(2, 3, 4, 4).sub(0.5).relu().requires_grad_()
    with torch.no_grad():
        maps[0] = 0
    at_loss(maps, torch.rand(2, 3, 4, 4), power).backward()
    assert maps.grad.isfinite().all()
    assert maps.grad.any()


def test_an_explanation_of_features_that_made_no_logits_is_refused(student, teacher, labels):
    with pytest.raises(XkdError, match="e2kd: a pass has logits that are not computed from its features"):
        create_method("e2kd")(replace(student, features=student.features.clone()), teacher, labels)
