"""A vision transformer, timm's or torchvision's, taken apart into the linear layers and norms of its blocks."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.hooks import Outputs
from xkd_eval.errors import ExplainerError

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
    """A vision transformer whose logits are read off its class token (and the distillation token).

    Attributes:
        first_block: path of the first block in the model; its input are the tokens.
        blocks: in order.
        norm: the final one.
        head_layers: for each of the leading tokens that is read, the layers from it to the logits; their mean counts.
        prefix: leading tokens that stand for no place.
    """

    first_block: str
    blocks: tuple[Block, ...]
    norm: nn.Module
    head_layers: tuple[tuple[nn.Module, ...], ...]
    prefix: int


def take_apart(name: str, classifier: Classifier) -> VisionTransformer:
    """The structure of a classifier that is a ViT or DeiT of timm or torchvision.

    Raises:
        ExplainerError: it is another network, or a variant whose parts have no published rule; names the explainer.
    """
    try:
        for path, module in classifier.model.named_modules():  # it may be within a wrapper
            for library, taken in _LIBRARIES.items():
                if _is_vision_transformer(module, library):
                    structure = taken(module)
                    first = f"{path}.{structure.first_block}" if path else structure.first_block
                    return replace(structure, first_block=first)
        raise _UnknownStructureError("no ViT or DeiT of timm or torchvision")
    except _UnknownStructureError as error:
        raise ExplainerError(f"explainer '{name}': {classifier.name} is {error}") from error


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
    logits = [nn.Sequential(*layers)(normed[:, index]) for index, layers in enumerate(structure.head_layers)]
    return torch.stack(logits).mean(0)


def _is_vision_transformer(model: nn.Module, library: str) -> bool:
    # A library that nobody has imported has made no model, and its import takes as long as that of torch.
    home = sys.modules.get(f"{library}.models.vision_transformer")
    return home is not None and isinstance(model, home.VisionTransformer)


class _UnknownStructureError(Exception):
    """Says what the network is instead."""


def _from_timm(model: Any) -> VisionTransformer:
    from timm.models.deit import VisionTransformerDistilled

    if getattr(model, "global_pool", "token") != "token" or getattr(model, "attn_pool", None) is not None:
        raise _UnknownStructureError(
            f"a transformer that pools its tokens ({model.global_pool}), and the method reads a class token"
        )
    tail = (model.fc_norm, model.head)
    heads: tuple[tuple[nn.Module, ...], ...] = (tail,)
    if isinstance(model, VisionTransformerDistilled):
        heads = ((model.head,), (model.head_dist,))
    return VisionTransformer(
        first_block="blocks.0",
        blocks=tuple(_timm_block(block) for block in model.blocks),
        norm=model.norm,
        head_layers=heads,
        prefix=int(model.num_prefix_tokens),
    )


def _timm_block(block: Any) -> Block:
    from timm.layers import Mlp
    from timm.models.vision_transformer import Attention
    from timm.models.vision_transformer import Block as TimmBlock

    attention, mlp = block.attn, block.mlp
    kinds = tuple(type(part) for part in (block, attention, mlp))
    if kinds != (TimmBlock, Attention, Mlp):
        names = ", ".join(kind.__name__ for kind in kinds)
        raise _UnknownStructureError(f"a transformer with other blocks ({names}) than ViT's")
    if getattr(attention, "gate", None) is not None:
        raise _UnknownStructureError("a transformer with gated attention")
    after = getattr(mlp, "norm", nn.Identity())
    return Block(
        norm1=block.norm1,
        norm2=block.norm2,
        qkv=(attention.qkv.weight, attention.qkv.bias),
        heads=attention.num_heads,
        query_norm=attention.q_norm,
        key_norm=attention.k_norm,
        context_norm=getattr(attention, "norm", nn.Identity()),
        projection=attention.proj,
        scale1=block.ls1,
        scale2=block.ls2,
        expand=mlp.fc1,
        contract=mlp.fc2,
        activate=lambda hidden: after(mlp.act(hidden)),
    )


def _from_torchvision(model: Any) -> VisionTransformer:
    layers = model.encoder.layers
    return VisionTransformer(
        first_block=f"encoder.layers.{next(iter(layers._modules))}",
        blocks=tuple(_torchvision_block(block) for block in layers),
        norm=model.encoder.ln,
        head_layers=(tuple(model.heads),),
        prefix=1,
    )


def _torchvision_block(block: Any) -> Block:
    attention = block.self_attention
    expand, activation, _, contract, _ = block.mlp
    return Block(
        norm1=block.ln_1,
        norm2=block.ln_2,
        qkv=(attention.in_proj_weight, attention.in_proj_bias),
        heads=attention.num_heads,
        query_norm=nn.Identity(),
        key_norm=nn.Identity(),
        context_norm=nn.Identity(),
        projection=attention.out_proj,
        scale1=nn.Identity(),
        scale2=nn.Identity(),
        expand=expand,
        contract=contract,
        activate=activation,
    )


_LIBRARIES: dict[str, Callable[[Any], VisionTransformer]] = {"timm": _from_timm, "torchvision": _from_torchvision}
