"""A vision transformer as the linear layers and norms of its blocks, and what passes through them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.hooks import Outputs

Pointwise = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Block:
    """A pre-norm block: x + scale1(attention(norm1(x))), then x + scale2(mlp(norm2(x))).

    Attributes:
        norm1, norm2: before attention and MLP.
        qkv: (3D, D) weight and bias of the joint projection.
        heads: number of attention heads.
        query_norm, key_norm: per head.
        context_norm: before the output projection.
        projection: the output projection.
        scale1, scale2: LayerScale, or the identity.
        expand, contract: the MLP's two linear layers.
        activate: what is between them.
    """

    norm1: nn.Module
    norm2: nn.Module
    qkv: tuple[Tensor, Tensor | None]
    heads: int
    query_norm: Pointwise
    key_norm: Pointwise
    context_norm: Pointwise
    projection: nn.Linear
    scale1: Pointwise
    scale2: Pointwise
    expand: nn.Linear
    contract: nn.Linear
    activate: Pointwise

    def queries_keys_values(self, normed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, N, D) -> three (B, heads, N, D / heads); queries are scaled."""
        joint = F.linear(normed, *self.qkv).unflatten(2, (3, self.heads, -1))
        queries, keys, values = joint.permute(2, 0, 3, 1, 4)
        return self.query_norm(queries) * queries.shape[-1] ** -0.5, self.key_norm(keys), values


@dataclass(frozen=True)
class VisionTransformer:
    """A vision transformer whose logits are read off its class token, and what is read beside it.

    Attributes:
        first_block: path of the first block in the model; its input are the tokens.
        blocks: in order.
        norm: the final one.
        head_layers: for each of the leading tokens that is read, the layers from it to the logits; their mean counts.
        prefix: leading tokens that stand for no place.
        reads_average: whether the head is given the average of the patches behind the class token (DINOv2's).
    """

    first_block: str
    blocks: tuple[Block, ...]
    norm: nn.Module
    head_layers: tuple[tuple[nn.Module, ...], ...]
    prefix: int
    reads_average: bool = False

    def read(self, normed: Tensor, index: int) -> Tensor:
        """(B, N, D) tokens -> (B, D), or (B, 2 D), what the head of a leading token is given."""
        token = normed[:, index]
        return torch.cat([token, normed[:, self.prefix :].mean(1)], 1) if self.reads_average else token

    def rows(self, product: Tensor) -> Tensor:
        """(B, N, N) -> (B, patches): what the tokens that are read come from, on the average over them."""
        rows = product[:, : len(self.head_layers), self.prefix :].mean(1)
        return (rows + product[:, self.prefix :, self.prefix :].mean(1)) / 2 if self.reads_average else rows


@torch.no_grad()
def first_tokens(classifier: Classifier, structure: VisionTransformer, images: Tensor) -> tuple[Tensor, Tensor]:
    """What the first block is fed with, (B, N, D), and the logits (B, K)."""
    block = structure.first_block
    with Outputs({block: classifier.model.get_submodule(block)}) as outputs:
        logits = classifier.model(images)
    return outputs.inputs[block][0], logits


class BlockPass:
    """One block's forward on tokens (B, N, D), with everything that was on the way."""

    def __init__(self, block: Block, tokens: Tensor) -> None:
        self.block, self.inputs = block, tokens
        self.normed = block.norm1(tokens)
        self.queries, self.keys, self.values = block.queries_keys_values(self.normed)
        self.attention = (self.queries @ self.keys.transpose(2, 3)).softmax(-1)
        joined = (self.attention @ self.values).transpose(1, 2).flatten(2)
        self.context = block.context_norm(joined)
        self.attended = block.scale1(block.projection(self.context))
        self.middle = tokens + self.attended
        self.normed_middle = block.norm2(self.middle)
        self.hidden = block.activate(block.expand(self.normed_middle))
        self.transformed = block.scale2(block.contract(self.hidden))
        self.output = self.middle + self.transformed


def run_blocks(structure: VisionTransformer, tokens: Tensor) -> list[BlockPass]:
    """The blocks' forwards on tokens (B, N, D), in order."""
    passes = []
    for block in structure.blocks:
        passes.append(BlockPass(block, tokens))
        tokens = passes[-1].output
    return passes


def head_logits(structure: VisionTransformer, tokens: Tensor) -> Tensor:
    """The last block's output (B, N, D) -> logits (B, K)."""
    normed = structure.norm(tokens)
    heads = enumerate(structure.head_layers)
    logits = [nn.Sequential(*layers)(structure.read(normed, index)) for index, layers in heads]
    return torch.stack(logits).mean(0)
