"""The vision transformers of timm, torchvision and transformers, taken apart."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.errors import ExplainerError
from xkd_eval.explainers.vit import Block, VisionTransformer


def take_apart(name: str, classifier: Classifier) -> VisionTransformer:
    """The structure of a ViT or DeiT of timm, torchvision or transformers, or of transformers' DINOv2.

    Raises:
        ExplainerError: it is another network, or a variant whose parts have no published rule; names the explainer.
    """
    try:
        for path, module in classifier.model.named_modules():  # it may be within a wrapper
            for (home, kind), taken in _KNOWN.items():
                if _is_a(module, home, kind):
                    structure = taken(module)
                    first = f"{path}.{structure.first_block}" if path else structure.first_block
                    return replace(structure, first_block=first)
        raise _UnknownStructureError("no ViT, DeiT or DINOv2 of timm, torchvision or transformers")
    except _UnknownStructureError as error:
        raise ExplainerError(f"explainer '{name}': {classifier.name} is {error}") from error


def _is_a(module: nn.Module, home: str, name: str) -> bool:
    # A library that nobody has imported has made no model, and its import takes as long as that of torch.
    found = getattr(sys.modules.get(home), name, None)
    return found is not None and isinstance(module, found)


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


def _from_transformers(encoder: str, prefix: int) -> Callable[[Any], VisionTransformer]:
    """Of a model whose blocks are `encoder`.layers and whose head is called `classifier`, or two heads (DeiT)."""

    def taken(model: Any) -> VisionTransformer:
        body = getattr(model, encoder)
        path = f"{encoder}.encoder.layer" if hasattr(body, "encoder") else f"{encoder}.layers"
        layers: Any = model.get_submodule(path)
        two = hasattr(model, "distillation_classifier")
        heads = ((model.cls_classifier,), (model.distillation_classifier,)) if two else ((model.classifier,),)
        width = layers[0].attention.q_proj.in_features
        return VisionTransformer(
            first_block=f"{path}.0",
            blocks=tuple(_transformers_block(layer) for layer in layers),
            norm=body.layernorm,
            head_layers=heads,
            prefix=prefix + int(getattr(model.config, "num_register_tokens", 0)),
            reads_average=heads[0][0].in_features == 2 * width,
        )

    return taken


def _transformers_block(layer: Any) -> Block:
    attention, mlp = layer.attention, layer.mlp
    if not hasattr(mlp, "fc1"):
        raise _UnknownStructureError(f"a transformer with a gated MLP ({type(mlp).__name__})")
    parts = (attention.q_proj, attention.k_proj, attention.v_proj)
    biases = [part.bias for part in parts]
    return Block(
        norm1=layer.layernorm_before if hasattr(layer, "layernorm_before") else layer.norm1,
        norm2=layer.layernorm_after if hasattr(layer, "layernorm_after") else layer.norm2,
        qkv=(torch.cat([part.weight for part in parts]), None if biases[0] is None else torch.cat(biases)),
        heads=attention.num_attention_heads,
        query_norm=nn.Identity(),
        key_norm=nn.Identity(),
        context_norm=nn.Identity(),
        projection=attention.o_proj,
        scale1=getattr(layer, "layer_scale1", nn.Identity()),
        scale2=getattr(layer, "layer_scale2", nn.Identity()),
        expand=mlp.fc1,
        contract=mlp.fc2,
        activate=mlp.activation_fn,
    )


_HUGGING = "transformers.models.{0}.modeling_{0}"
_KNOWN: dict[tuple[str, str], Callable[[Any], VisionTransformer]] = {
    ("timm.models.vision_transformer", "VisionTransformer"): _from_timm,
    ("torchvision.models.vision_transformer", "VisionTransformer"): _from_torchvision,
    (_HUGGING.format("vit"), "ViTForImageClassification"): _from_transformers("vit", 1),
    (_HUGGING.format("deit"), "DeiTForImageClassification"): _from_transformers("deit", 2),
    (_HUGGING.format("deit"), "DeiTForImageClassificationWithTeacher"): _from_transformers("deit", 2),
    (_HUGGING.format("dinov2"), "Dinov2ForImageClassification"): _from_transformers("dinov2", 1),
    (_HUGGING.format("dinov2_with_registers"), "Dinov2WithRegistersForImageClassification"): _from_transformers(
        "dinov2_with_registers", 1
    ),
}
"""Module and class, which need not be imported, to what takes it apart."""
