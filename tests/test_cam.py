"""The one CAM function: its identity, its agreement with the slow product, its class subsets, its gradient."""

import pytest
import torch

from xkd_eval.cam import class_activation_maps
from xkd_eval.errors import XkdError


def test_mean_of_the_maps_is_the_logit_without_bias():
    features, weight = torch.rand(2, 5, 3, 4), torch.randn(7, 5)
    torch.testing.assert_close(class_activation_maps(features, weight).mean((2, 3)), features.mean((2, 3)) @ weight.T)


def test_convolution_equals_the_broadcast_product():
    features, weight = torch.rand(2, 5, 3, 4, dtype=torch.float64), torch.randn(7, 5, dtype=torch.float64)
    product = (weight[None, :, :, None, None] * features[:, None]).sum(2)
    torch.testing.assert_close(class_activation_maps(features, weight), product)


def test_a_class_subset_is_the_same_maps_gathered():
    features, weight, classes = torch.rand(2, 5, 3, 4), torch.randn(7, 5), torch.tensor([[6, 0], [3, 3]])
    all_maps = class_activation_maps(features, weight)
    gathered = torch.stack([all_maps[image, classes[image]] for image in range(2)])
    torch.testing.assert_close(class_activation_maps(features, weight, classes), gathered)


@pytest.mark.parametrize("classes", [None, torch.tensor([[1], [0]])])
def test_both_arguments_receive_their_gradient(classes):
    features = torch.rand(2, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda f, w: class_activation_maps(f, w, classes), (features, weight))


def test_channels_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"\(1, 3, 2, 2\).*\(4, 5\)"):
        class_activation_maps(torch.rand(1, 3, 2, 2), torch.rand(4, 5))


@pytest.mark.parametrize("wrong", [-1, 5])
def test_classes_that_there_are_not_are_refused(wrong):
    """-1 would be the last class."""
    with pytest.raises(XkdError, match=rf"^classes: {wrong} found; expected class indices from 0 to 4"):
        class_activation_maps(torch.rand(2, 3, 4, 4), torch.rand(5, 3), torch.tensor([[0], [wrong]]))


@pytest.mark.parametrize("classes", [None, torch.tensor([[1], [0]])])
@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_the_head_is_taken_in_the_features_type(kind, classes):
    features, weight = torch.rand(2, 3, 2, 2).to(kind), torch.randn(4, 3)
    found = class_activation_maps(features, weight, classes)
    assert found.dtype == kind
    assert torch.equal(found, class_activation_maps(features, weight.to(kind), classes))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((torch.rand(2, 3, 2, 2), torch.rand(4, 3).to("meta")), "head_weight: on meta, and `features` on cpu"),
        (
            (torch.rand(2, 3, 2, 2), torch.rand(4, 3), torch.zeros(2, 1, dtype=torch.int64, device="meta")),
            "classes: on meta, and `features` on cpu; expected one device",
        ),
        ((torch.rand(2, 3, 2, 2), torch.rand(0, 3)), r"head_weight: \(0, 3\) found; expected \(K, C\) with at least"),
        ((torch.ones(2, 3, 2, 2).int(), torch.rand(4, 3)), r"features: torch\.int32 found; expected floats"),
        ((torch.rand(2, 3, 2, 2), torch.ones(4, 3).int()), r"head_weight: torch\.int32 found; expected floats"),
    ],
)
def test_what_has_no_maps_is_refused_by_the_argument(given, message):
    with pytest.raises(XkdError, match=f"^{message}"):
        class_activation_maps(*given)
