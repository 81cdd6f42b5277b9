"""What holds for every explainer: shape, type, independence of the batch, and a classifier left as it was."""

import pytest
import torch

from xkd_eval.errors import ExplainerError
from xkd_eval.explainers import Context, create_explainer, list_explainers

NAMES = [explainer.name for explainer in list_explainers()]
FOR_TRANSFORMERS = ["attention_rollout", "transformer_attribution"]
NOT_FOR_TRANSFORMERS = ["cam", "fullgrad", "deeplift", "guided_backprop", "guided_gradcam"]


def smooth(images):
    """Images with regions, for the superpixels."""
    coarse = torch.nn.functional.avg_pool2d(images, 8)
    return torch.nn.functional.interpolate(3 * coarse, images.shape[2:], mode="bilinear")


def context(*positions, size=32):
    masks = torch.stack([torch.arange(size * size).reshape(size, size) % (position + 2) - 1 for position in range(3)])
    return Context(ids=tuple("abc"[position] for position in positions), masks=masks[list(positions)])


def assert_agrees_image_by_image(name, classifier, images, classes):
    explainer = create_explainer(name)
    explainer.check(classifier)
    maps = explainer(classifier, images, classes, context(0, 1, 2))
    assert maps.dtype == torch.float32 and maps.ndim == 3 and len(maps) == 3
    assert not maps.requires_grad and maps.grad_fn is None and torch.isfinite(maps).all()
    for position in range(3):
        one = slice(position, position + 1)
        alone = explainer(classifier, images[one], classes[one], context(position))
        torch.testing.assert_close(alone[0], maps[position], rtol=1e-5, atol=1e-5 * float(maps.abs().max()))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in FOR_TRANSFORMERS])
def test_a_map_does_not_depend_on_its_batch(name, classifier, images, classes):
    assert_agrees_image_by_image(name, classifier, smooth(images), classes)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in NOT_FOR_TRANSFORMERS])
def test_a_transformers_map_does_not_depend_on_its_batch(name, vit, images, classes):
    assert_agrees_image_by_image(name, vit, smooth(images), classes)


@pytest.mark.parametrize("name", NOT_FOR_TRANSFORMERS)
def test_what_does_not_hold_for_transformers_says_so_and_names_others(name, vit):
    with pytest.raises(ExplainerError, match=r"use .*saliency|use .*gradients|use gradcam"):
        create_explainer(name).check(vit)


@pytest.mark.parametrize("name", FOR_TRANSFORMERS)
def test_what_needs_a_transformer_says_so_and_names_others(name, classifier):
    with pytest.raises(ExplainerError, match=f"'{name}': TinyCnn is no ViT or DeiT .*; use gradcam"):
        create_explainer(name).check(classifier)


@pytest.mark.parametrize("name", NAMES)
def test_the_classifier_is_left_as_it_was(name, classifier, vit, images, classes):
    model = vit if name in FOR_TRANSFORMERS else classifier
    modules, digest = [str(module) for module in model.modules()], model.digest()
    global_state = torch.get_rng_state()
    create_explainer(name)(model, images, classes, context(0, 1, 2))
    assert [str(module) for module in model.modules()] == modules and model.digest() == digest
    assert not any(module.training for module in model.model.modules())
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in model.parameters())
    for module in model.modules():
        assert not module._forward_hooks and not module._forward_pre_hooks and not module._backward_hooks
    assert torch.equal(torch.get_rng_state(), global_state)


@pytest.mark.parametrize("name", NAMES)
def test_works_where_the_caller_is_in_inference_mode(name, classifier, vit, images, classes):
    model = vit if name in FOR_TRANSFORMERS else classifier
    expected = create_explainer(name)(model, images, classes, context(0, 1, 2))
    with torch.inference_mode():
        maps = create_explainer(name)(model, images.clone(), classes.clone(), context(0, 1, 2))
    torch.testing.assert_close(maps.clone(), expected)


@pytest.mark.parametrize("name", NAMES)
def test_says_nothing(name, classifier, vit, images, classes, capsys, recwarn):
    model = vit if name in FOR_TRANSFORMERS else classifier
    create_explainer(name)(model, images, classes, context(0, 1, 2))
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err == "" and not [w for w in recwarn if w.category is UserWarning]
