"""Layer-wise relevance propagation through a transformer (Chefer et al., CVPR 2021), rule by rule.

Every rule takes the relevance R of an output and returns that of its inputs; each keeps the sum. LayerNorm, LayerScale,
softmax, GELU and tanh pass relevance through unchanged.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from xkd_eval.explainers.vit import BlockPass, VisionTransformer

_EPS = 1e-9


def through_linear(inputs: Tensor, weight: Tensor, relevance: Tensor) -> Tensor:
    """The paper's rule for linear layers: shares in proportion to the contributions x_i w_ji that are positive.

    Args:
        inputs: (..., D_in).
        weight: (D_out, D_in); a bias takes no relevance.
        relevance: (..., D_out).

    Returns:
        (..., D_in).
    """
    positive, negative = inputs.clamp(min=0), inputs.clamp(max=0)
    weight_positive, weight_negative = weight.clamp(min=0), weight.clamp(max=0)
    total = positive @ weight_positive.T + negative @ weight_negative.T
    share = _divide(relevance, total)
    return positive * (share @ weight_positive) + negative * (share @ weight_negative)


def through_product(left: Tensor, right: Tensor, relevance: Tensor) -> tuple[Tensor, Tensor]:
    """left @ right: half of the relevance to each operand, in proportion to the products it takes part in.

    Args:
        left: (..., N, M).
        right: (..., M, P).
        relevance: (..., N, P).

    Returns:
        Those of left and right. Each product's whole relevance would go to both; the paper's normalisation of two
        operands makes that a half each.
    """
    share = _divide(relevance, left @ right)
    return left * (share @ right.transpose(-1, -2)) / 2, right * (left.transpose(-1, -2) @ share) / 2


def through_sum(left: Tensor, right: Tensor, relevance: Tensor) -> tuple[Tensor, Tensor]:
    """left + right, of one image: shares in proportion to the summands, normalised so that they do not run away.

    Summands of opposite sign get shares of opposite sign that may each be far larger than the relevance. The paper
    rescales both, to totals in proportion to the magnitudes of the unscaled ones.

    Args:
        left, right, relevance: of one shape.

    Returns:
        Those of left and right.
    """
    share = _divide(relevance, left + right)
    of_left, of_right = left * share, right * share
    total_left, total_right = of_left.sum(), of_right.sum()
    magnitude = total_left.abs() + total_right.abs()
    budget = relevance.sum()
    return (
        of_left * _divide(_divide(total_left.abs(), magnitude) * budget, total_left),
        of_right * _divide(_divide(total_right.abs(), magnitude) * budget, total_right),
    )


def propagate(structure: VisionTransformer, passes: list[BlockPass], label: int) -> tuple[list[Tensor], Tensor]:
    """Propagate a relevance of 1 at one class's logit back through a transformer.

    Args:
        structure: see take_apart.
        passes: of one image, from run_blocks.
        label: the class.

    Returns:
        The relevance of each block's attention map, (1, heads, N, N), in order; and that of the tokens, (1, N, D),
        which sums to 1 up to the terms that have no positive contribution to go to.
    """
    relevance = _through_head(structure, passes[-1].output, label)
    of_attention = []
    for step in reversed(passes):
        attention, relevance = _through_block(step, relevance)
        of_attention.append(attention)
    return of_attention[::-1], relevance


def _through_head(structure: VisionTransformer, tokens: Tensor, label: int) -> Tensor:
    normed = structure.norm(tokens)
    inputs_of, logits = [], []
    for index, layers in enumerate(structure.head_layers):
        inputs = [structure.read(normed, index)]
        for layer in layers:
            inputs.append(layer(inputs[-1]))
        inputs_of.append(inputs)
        logits.append(inputs[-1])
    one = torch.zeros_like(logits[0])
    one[:, label] = 1
    shares = (one,) if len(logits) == 1 else through_sum(logits[0], logits[1], one)
    relevance = torch.zeros_like(normed)
    for index, (share, inputs, layers) in enumerate(zip(shares, inputs_of, structure.head_layers, strict=True)):
        for layer, given in zip(reversed(layers), reversed(inputs[:-1]), strict=True):
            share = through_linear(given, layer.weight, share) if isinstance(layer, nn.Linear) else share
        width = normed.shape[2]
        relevance[:, index] = share[:, :width]
        if structure.reads_average:
            patches = normed[:, structure.prefix :].transpose(1, 2)
            average = torch.full((1, patches.shape[2]), 1 / patches.shape[2], device=patches.device)
            of_patches = through_linear(patches, average, share[:, width:, None])
            relevance[:, structure.prefix :] += of_patches.transpose(1, 2)
    return relevance


def _through_block(step: BlockPass, relevance: Tensor) -> tuple[Tensor, Tensor]:
    """Relevance of the output -> that of the attention map (B, heads, N, N) and of the block's input."""
    block = step.block
    of_middle, of_mlp = through_sum(step.middle, step.transformed, relevance)
    of_hidden = through_linear(step.hidden, block.contract.weight, of_mlp)
    of_middle = of_middle + through_linear(step.normed_middle, block.expand.weight, of_hidden)
    of_input, of_attended = through_sum(step.inputs, step.attended, of_middle)
    of_context = through_linear(step.context, block.projection.weight, of_attended)
    of_context = of_context.unflatten(2, (block.heads, -1)).transpose(1, 2)
    of_attention, of_values = through_product(step.attention, step.values, of_context)
    of_queries, of_keys = through_product(step.queries, step.keys.transpose(2, 3), of_attention)
    joint = torch.stack([of_queries, of_keys.transpose(2, 3), of_values])  # (3, B, heads, N, D / heads)
    of_qkv = joint.permute(1, 3, 0, 2, 4).flatten(2)
    return of_attention, of_input + through_linear(step.normed, block.qkv[0], of_qkv)


def _divide(numerator: Tensor, denominator: Tensor) -> Tensor:
    """The quotient, and 0 where the denominator is 0; a denominator near 0 keeps its sign."""
    steady = denominator + torch.where(denominator < 0, -_EPS, _EPS)
    return torch.where(denominator == 0, 0.0, numerator / steady)
