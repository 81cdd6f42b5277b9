"""What holds for networks through which no gradient passes, or whose layers nobody sees."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from xkd_eval.classifiers import load_classifier
from xkd_eval.errors import ExplainerError
from xkd_eval.explainers import create_explainer
from xkd_eval.explainers.holding import alternatives, check_holds
from xkd_eval.explainers.inspection import inspect_classifier
from xkd_eval.testing import SmallNetwork

ANSWERS_ALONE = {"occlusion", "feature_ablation", "rise", "random", "centre", "edges", "fake_cam", "oracle"}
NEED_GRADIENTS = [
    *("saliency", "input_x_gradient", "integrated_gradients", "gradient_shap", "deeplift", "guided_backprop"),
    *("guided_gradcam", "fullgrad", "gradcam", "gradcam++", "xgradcam", "layercam", "hirescam", "eigengradcam"),
]


class Detached(nn.Module):
    """As a network of another engine: answers, and no gradient."""

    def __init__(self):
        super().__init__()
        self.network = SmallNetwork()

    def forward(self, images):
        return self.network(images.detach()).detach()


class Recounted(SmallNetwork):
    """Its activations are computed again for the gradient."""

    def __init__(self):
        super().__init__()
        self.grad_checkpointing = True

    def forward(self, images):
        from torch.utils.checkpoint import checkpoint

        if self.grad_checkpointing:
            return self.head(checkpoint(self.features, images, use_reentrant=True).mean((2, 3)))
        return super().forward(images)


def test_without_gradients_the_map_and_what_needs_answers_alone_hold():
    classifier = load_classifier(Detached(), size=32)
    assert classifier.head.features == "network.features"
    assert (
        set(inspect_classifier(classifier).explainers) == {"cam", "eigencam", "scorecam", "ablationcam"} | ANSWERS_ALONE
    )


@pytest.mark.parametrize("name", NEED_GRADIENTS)
def test_what_needs_gradients_says_so_before_a_run(name):
    classifier = load_classifier(Detached(), size=32)
    message = (
        rf"explainer '{name.replace('+', '.')}': it needs the gradient .* Detached gives none: .*; use cam, eigencam or"
    )
    with pytest.raises(ExplainerError, match=message):
        check_holds(create_explainer(name), classifier)


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_of_torchscript_gradients_and_answers_can_be_had():
    classifier = load_classifier(torch.jit.script(SmallNetwork().eval()), size=32)
    assert classifier.head_refusal == "TorchScript lets nobody see its layers"
    found = inspect_classifier(classifier)
    gradients = {"saliency", "input_x_gradient", "integrated_gradients", "gradient_shap"}
    assert set(found.explainers) == gradients | ANSWERS_ALONE
    assert all(
        reason.endswith("; use integrated_gradients, saliency or occlusion") for reason in found.refused.values()
    )


def test_a_network_that_computes_activations_again_is_explained_like_any(images, classes):
    model = Recounted().eval()
    classifier = load_classifier(model, size=32)
    assert model.grad_checkpointing
    check_holds(create_explainer("gradcam"), classifier)
    model.grad_checkpointing = False
    plain = load_classifier(model, size=32)
    assert torch.equal(*(create_explainer("gradcam")(one, images, classes) for one in (classifier, plain)))


class Flattened(nn.Module):
    """No layer shows places."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3 * 32 * 32, 5)

    def forward(self, images):
        return F.relu(self.linear(images.flatten(1)))


def test_alternatives_are_those_that_hold():
    classifier = load_classifier(Flattened(), size=32)
    assert alternatives(classifier) == "integrated_gradients, saliency or occlusion"
    for name in ("integrated_gradients", "saliency", "occlusion"):
        check_holds(create_explainer(name), classifier)
