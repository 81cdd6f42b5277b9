"""Rollout by hand, the relevance rules slowly, and the properties that the papers state."""

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from xkd_eval.errors import ExplainerError
from xkd_eval.explainers import create_explainer
from xkd_eval.explainers.layers import target_layer
from xkd_eval.explainers.relevance import propagate, through_linear, through_product, through_sum
from xkd_eval.explainers.vit import first_tokens, head_logits, run_blocks
from xkd_eval.explainers.vit_structures import take_apart

from .conftest import livened, wrap

NETWORKS = ["vit", "distilled_deit", "torchvision_vit"]
OF_TRANSFORMERS = ["their_vit", "their_deit", "their_dinov2"]


def attentions(classifier, images):
    """Per block (B, heads, N, N), from the model's own attention."""
    seen = []
    if hasattr(classifier.model, "blocks"):
        for block in classifier.model.blocks:
            block.attn.fused_attn = False
            block.attn.attn_drop.register_forward_hook(lambda module, inputs, output: seen.append(output))
        classifier(images)
        return seen
    for block in classifier.model.encoder.layers:
        block.ln_1.register_forward_hook(
            lambda module, inputs, output, attention=block.self_attention: seen.append(
                attention(output, output, output, average_attn_weights=False)[1]
            )
        )
    classifier(images)
    return seen


@pytest.mark.parametrize("network", NETWORKS)
def test_rollout_multiplies_the_blocks(network, request, images, classes):
    classifier = request.getfixturevalue(network)
    maps = create_explainer("attention_rollout")(classifier, images, classes)
    prefix, read = (2, 2) if network == "distilled_deit" else (1, 1)
    rolled = torch.eye(prefix + 16)
    for attention in attentions(classifier, images):
        rolled = (0.5 * attention.mean(1) + 0.5 * torch.eye(prefix + 16)) @ rolled
    expected = rolled[:, :read, prefix:].mean(1)
    torch.testing.assert_close(maps, expected.reshape(3, 4, 4))
    # Rows sum to 1, so what is missing is the weight of the prefix tokens.
    torch.testing.assert_close(expected.sum(1), 1 - rolled[:, :read, :prefix].sum(2).mean(1))


def test_rollout_of_one_block_is_half_its_attention(images, classes):
    model = VisionTransformer(img_size=32, patch_size=8, embed_dim=24, depth=1, num_heads=3, num_classes=5)
    classifier = wrap(livened(model), 32, 5)
    maps = create_explainer("attention_rollout")(classifier, images, classes)
    (attention,) = attentions(classifier, images)
    torch.testing.assert_close(maps.flatten(1), attention.mean(1)[:, 0, 1:] / 2)


@pytest.mark.parametrize(("network", "prefix"), [("their_vit", 1), ("their_deit", 2), ("their_dinov2", 1)])
def test_rollout_multiplies_what_transformers_calls_attentions(network, prefix, request, images, classes):
    classifier = request.getfixturevalue(network)
    maps = create_explainer("attention_rollout")(classifier, images, classes)
    model = classifier.model.network
    model.set_attn_implementation("eager")
    rolled = torch.eye(prefix + 16)
    for attention in model(images, output_attentions=True).attentions:
        rolled = (0.5 * attention.mean(1) + 0.5 * torch.eye(prefix + 16)) @ rolled
    expected = rolled[:, :prefix, prefix:].mean(1)
    if network == "their_dinov2":  # its head reads the average of the patches as well
        expected = (expected + rolled[:, prefix:, prefix:].mean(1)) / 2
    torch.testing.assert_close(maps, expected.reshape(3, 4, 4))


@pytest.mark.parametrize("network", OF_TRANSFORMERS)
def test_a_map_of_the_last_blocks_norm_holds_for_transformers(network, request, images, classes):
    classifier = request.getfixturevalue(network)
    layer = target_layer(classifier)
    assert layer.path.endswith(("layers.2.layernorm_before", "layernorm")) and layer.reading.layout == "tokens"
    assert create_explainer("gradcam")(classifier, images, classes).shape == (3, 4, 4)


@pytest.mark.parametrize("network", NETWORKS + OF_TRANSFORMERS)
def test_the_parts_give_the_models_logits(network, request, images):
    classifier = request.getfixturevalue(network)
    structure = take_apart("test", classifier)
    tokens, logits = first_tokens(classifier, structure, images)
    torch.testing.assert_close(head_logits(structure, run_blocks(structure, tokens)[-1].output), logits)


@pytest.mark.parametrize("network", NETWORKS + OF_TRANSFORMERS)
def test_relevance_is_conserved(network, request, images):
    classifier = request.getfixturevalue(network)
    structure = take_apart("test", classifier)
    for image in images:
        tokens, _ = first_tokens(classifier, structure, image[None])
        _, relevance = propagate(structure, run_blocks(structure, tokens), label=2)
        assert relevance.sum().item() == pytest.approx(1, abs=1e-4)


def test_linear_rule_slowly():
    inputs, weight, relevance = torch.randn(4), torch.randn(3, 4), torch.randn(3)
    expected = torch.zeros(4)
    for j in range(3):
        shares = [max(0.0, float(inputs[i] * weight[j, i])) for i in range(4)]
        for i in range(4):
            expected[i] += shares[i] / sum(shares) * relevance[j]
    torch.testing.assert_close(through_linear(inputs, weight, relevance), expected)
    assert through_linear(inputs, weight, relevance).sum().item() == pytest.approx(relevance.sum().item(), abs=1e-5)


def test_product_rule_slowly():
    left, right, relevance = torch.randn(2, 3), torch.randn(3, 4), torch.randn(2, 4)
    of_left, of_right = torch.zeros(2, 3), torch.zeros(3, 4)
    for n in range(2):
        for p in range(4):
            total = sum(left[n, m] * right[m, p] for m in range(3))
            for m in range(3):
                part = left[n, m] * right[m, p] / total * relevance[n, p]
                of_left[n, m] += part / 2
                of_right[m, p] += part / 2
    got = through_product(left, right, relevance)
    torch.testing.assert_close(got, (of_left, of_right), rtol=1e-4, atol=1e-4)


def test_sum_rule_by_hand():
    left, right, relevance = torch.tensor([3.0, 1.0]), torch.tensor([-1.0, 1.0]), torch.tensor([1.0, 1.0])
    # Plain shares: 3/2 + 1/2 = 2 to the left, -1/2 + 1/2 = 0 to the right.
    of_left, of_right = through_sum(left, right, relevance)
    torch.testing.assert_close(of_left, torch.tensor([1.5, 0.5]))
    torch.testing.assert_close(of_right, torch.tensor([0.0, 0.0]))
    # Opposite signs: 6/2 = 3 and -4/2 = -2 become 2 * 3/5 and 2 * 2/5.
    of_left, of_right = through_sum(torch.tensor([6.0]), torch.tensor([-4.0]), torch.tensor([2.0]))
    assert of_left.item() == pytest.approx(1.2) and of_right.item() == pytest.approx(0.8)


def test_a_block_whose_attention_does_not_reach_the_logit_counts_as_the_identity(vit, images, classes):
    expected = create_explainer("transformer_attribution")(vit, images, classes)
    with torch.no_grad():
        for block in vit.model.blocks:
            block.attn.proj.weight.zero_()
    maps = create_explainer("transformer_attribution")(vit, images, classes)
    assert expected.std() > 0 and (maps == 0).all()


def test_attribution_of_one_block_by_autograd(images):
    model = VisionTransformer(img_size=32, patch_size=8, embed_dim=24, depth=1, num_heads=3, num_classes=5)
    classifier = wrap(livened(model), 32, 5)
    structure = take_apart("test", classifier)
    tokens, _ = first_tokens(classifier, structure, images[:1])
    steps = run_blocks(structure, tokens)
    (relevance,), _ = propagate(structure, steps, label=3)
    seen = []
    block = model.blocks[0]
    block.attn.fused_attn = False
    block.attn.attn_drop.register_forward_hook(lambda module, inputs, output: seen.append(output))
    logit = classifier(images[:1].clone().requires_grad_())[0, 3]
    (gradient,) = torch.autograd.grad(logit, seen)
    expected = (gradient * relevance).clamp(min=0).mean(1)[0, 0, 1:].reshape(4, 4)
    maps = create_explainer("transformer_attribution")(classifier, images[:1], torch.tensor([3]))
    torch.testing.assert_close(maps[0], expected)
    # Only the class token's row reaches the logit: the relevance of the others' attention is 0.
    assert relevance[0, :, 1:].abs().max() == 0 and relevance[0, :, 0].abs().sum() > 0


def test_attribution_knows_the_class_and_rollout_does_not(vit, images):
    image = images[:1].expand(2, -1, -1, -1)
    labels = torch.tensor([0, 1])
    attribution = create_explainer("transformer_attribution")(vit, image, labels)
    rollout = create_explainer("attention_rollout")(vit, image, labels)
    assert not torch.allclose(attribution[0], attribution[1], rtol=1e-2) and torch.allclose(rollout[0], rollout[1])


def test_variants_of_vit_hold(images, classes):
    options = {"init_values": 0.5, "qk_norm": True, "reg_tokens": 3, "pre_norm": True}
    model = VisionTransformer(img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=3, num_classes=5, **options)
    classifier = wrap(livened(model), 32, 5)
    for name in ("attention_rollout", "transformer_attribution"):
        create_explainer(name).check(classifier)
        assert create_explainer(name)(classifier, images, classes).shape == (3, 4, 4)


@pytest.mark.parametrize("options", [{"global_pool": "avg"}, {"global_pool": "map", "class_token": False}])
def test_transformers_without_a_class_token_to_read_are_refused(options):
    model = VisionTransformer(img_size=32, patch_size=8, embed_dim=24, depth=1, num_heads=3, num_classes=5, **options)
    with pytest.raises(ExplainerError, match=r"pools its tokens "):
        create_explainer("attention_rollout").check(wrap(model, 32, 5))


def test_a_model_that_does_more_than_its_blocks_is_refused(vit):
    vit.model.blocks[0].register_forward_hook(lambda module, inputs, output: 2 * output)
    with pytest.raises(ExplainerError, match="something else than its blocks say"):
        create_explainer("transformer_attribution").check(vit)
