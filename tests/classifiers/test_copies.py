"""A copy to work on computes the same, and whatever is done to it the original stays as it was."""

import threading
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import weight_norm

from xkd_eval.classifiers.copies import copied, is_quiet, quiet_copy
from xkd_eval.errors import XkdError


def network() -> nn.Sequential:
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2), nn.ReLU())
    model[1].running_mean.fill_(0.5)
    return model.train()


def test_a_copy_shares_what_it_is_told_to():
    model = network()
    copy = copied(model, sharing=model[0].parameters())
    assert copy[0].weight is model[0].weight
    assert copy[1].weight is not model[1].weight and copy[1].running_mean is not model[1].running_mean


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_quiet_copy_is_frozen_float32_and_its_own(dtype):
    model = network().to(dtype)
    copy = quiet_copy(model)
    assert is_quiet(copy) and not any(parameter.requires_grad for parameter in copy.parameters())
    assert model.training and model[0].weight.dtype == dtype and model[0].weight.requires_grad
    assert (copy[0].weight.data_ptr() == model[0].weight.data_ptr()) == (dtype == torch.float32)
    copy.train()(torch.rand(2, 3, 4, 4))
    copy[0].register_forward_hook(lambda *_: None)
    assert (model[1].running_mean == 0.5).all() and not model[0]._forward_hooks


def test_a_quiet_copy_that_is_not_frozen_passes_gradients_on_to_the_original():
    model = network()
    quiet_copy(model, frozen=False)(torch.rand(2, 3, 4, 4)).sum().backward()
    assert model[0].weight.grad is not None and model.training


class Merging(nn.Module):
    """Two weights that become one in eval mode, in place, as LoRA's."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.more = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
        self.merged = False

    def train(self, mode=True):
        if not mode and not self.merged:
            self.weight.data += self.more
            self.merged = True
        return super().train(mode)

    def forward(self, values):
        return values * (self.weight if self.merged else self.weight + self.more)


def test_a_module_that_writes_to_its_weights_in_eval_mode_keeps_them():
    model = Merging()
    for copy in (quiet_copy(model), quiet_copy(model, frozen=False)):
        assert copy(torch.ones(2)).tolist() == [2, 2]
    assert model.weight.tolist() == [1, 1] and not model.merged


def test_what_autograd_made_is_copied_too():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the old weight norm, whose weight is no parameter
        model = nn.Sequential(weight_norm(nn.Conv2d(3, 2, 1)))
    images = torch.rand(1, 3, 4, 4)
    expected = model(images)
    model[0].kept = expected
    torch.testing.assert_close(quiet_copy(model)(images), expected)


def test_a_network_made_in_inference_mode_passes_gradients():
    with torch.inference_mode():
        model = network().eval()
    images = torch.rand(1, 3, 4, 4).requires_grad_()
    with torch.inference_mode():
        copy = quiet_copy(model)
    copy(images).sum().backward()
    assert images.grad is not None


def test_what_cannot_be_copied_is_shared():
    """A session of another engine, which a module holds."""
    model = network().eval()
    model.lock = threading.Lock()
    copy = quiet_copy(model)
    assert copy.lock is model.lock
    assert copy is not model and copy[0] is not model[0]
    images = torch.rand(1, 3, 4, 4)
    assert torch.equal(copy(images), model(images))


class Unique(nn.Module):
    """A module that refuses to be copied."""

    def __deepcopy__(self, known):
        raise TypeError("there is one lock")


def test_what_cannot_be_copied_says_so():
    model = network()
    model.append(Unique())
    with pytest.raises(XkdError, match=r"^model: Sequential cannot be copied \(.*lock.*\), and a copy is what is eval"):
        quiet_copy(model)
