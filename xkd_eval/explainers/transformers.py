"""What a vision transformer's class token attends to; maps at the resolution of the patches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.proof.places import grid_of
from xkd_eval.errors import ExplainerError
from xkd_eval.explainers.base import Context, Explainer, register_explainer
from xkd_eval.explainers.layers import tracked
from xkd_eval.explainers.relevance import propagate
from xkd_eval.explainers.vit import (
    VisionTransformer,
    first_tokens,
    head_logits,
    run_blocks,
)
from xkd_eval.explainers.vit_structures import take_apart


@register_explainer
@dataclass(frozen=True)
class AttentionRollout(Explainer):
    """The product over the blocks of (I + mean attention over heads) / 2, read at the class token; knows no class.

    Where a distillation token is read too (DeiT), or the average of the patches (DINOv2), the mean of the rows.
    """

    name: ClassVar[str] = "attention_rollout"
    citation: ClassVar[str] = "Abnar and Zuidema, Quantifying Attention Flow in Transformers, ACL 2020"
    cost: ClassVar[str] = "2 F"

    def check(self, classifier: Classifier) -> None:
        """Raise ExplainerError unless the model is a ViT, DeiT or DINOv2 that can be taken apart."""
        _check_structure(self.name, classifier)

    @torch.no_grad()
    def __call__(
        self, classifier: Classifier, images: Tensor, classes: Tensor, context: Context | None = None
    ) -> Tensor:
        """(B, 3, H, W) images and (B,) classes -> (B, H / patch, W / patch)."""
        structure = take_apart(self.name, classifier)
        tokens, _ = first_tokens(classifier, structure, images)
        identity = torch.eye(tokens.shape[1], device=tokens.device)
        layers = [(step.attention.mean(1).float() + identity) / 2 for step in run_blocks(structure, tokens)]
        return _class_token_map(_roll_out(layers), structure, images)


@register_explainer
@dataclass(frozen=True)
class TransformerAttribution(Explainer):
    """Relevance of each attention map times its gradient, positive part, rolled out to the class token.

    The relevance of the class is propagated from the logit through every block by the paper's rules (see relevance.py);
    a block counts as I + mean over heads of (gradient * relevance)+. Image by image, since the rule for sums is
    normalised over an image. With a distillation token (DeiT), the mean of the two rows.
    """

    name: ClassVar[str] = "transformer_attribution"
    citation: ClassVar[str] = "Chefer et al., Transformer Interpretability Beyond Attention Visualization, CVPR 2021"
    cost: ClassVar[str] = "2 F + 1 B + one relevance pass, about 3 F"
    per_image: ClassVar[bool] = True

    def check(self, classifier: Classifier) -> None:
        """Raise ExplainerError unless the model is a ViT, DeiT or DINOv2 that can be taken apart."""
        _check_structure(self.name, classifier)

    def __call__(
        self, classifier: Classifier, images: Tensor, classes: Tensor, context: Context | None = None
    ) -> Tensor:
        """(B, 3, H, W) images and (B,) classes -> (B, H / patch, W / patch)."""
        structure = take_apart(self.name, classifier)
        return torch.cat(
            [
                self._explain_one(classifier, structure, images[one], classes[one])
                for one in (slice(index, index + 1) for index in range(len(images)))
            ]
        )

    def _explain_one(
        self, classifier: Classifier, structure: VisionTransformer, image: Tensor, label: Tensor
    ) -> Tensor:
        tokens, _ = first_tokens(classifier, structure, image)
        with tracked(tokens.float(), label) as (inputs, labels):
            passes = run_blocks(structure, inputs)
            logit = head_logits(structure, passes[-1].output)[0, labels]
            gradients = torch.autograd.grad(logit.sum(), [step.attention for step in passes])
        with torch.no_grad():
            relevances, _ = propagate(structure, passes, int(label))
            identity = torch.eye(tokens.shape[1], device=tokens.device)
            layers = [
                (gradient * relevance).clamp(min=0).mean(1) + identity
                for gradient, relevance in zip(gradients, relevances, strict=True)
            ]
            return _class_token_map(_roll_out(layers), structure, image)


def _check_structure(name: str, classifier: Classifier) -> None:
    """The blocks as taken apart must give the model's own logits."""
    structure = take_apart(name, classifier)
    preprocess, generator = classifier.preprocess, torch.Generator().manual_seed(0)
    image = torch.rand(1, preprocess.channels, *preprocess.size, generator=generator).to(classifier.device)
    with torch.no_grad():
        tokens, logits = first_tokens(classifier, structure, image)
        derived = head_logits(structure, run_blocks(structure, tokens)[-1].output)
    error = float((derived - logits).abs().max() / logits.abs().max().clamp(min=1e-12))
    if not error < 1e-3:
        raise ExplainerError(
            f"explainer '{name}': {classifier.name} computes something else than its blocks say (logits differ by "
            f"{error:.1%})"
        )


def _roll_out(layers: list[Tensor]) -> Tensor:
    """The product of (B, N, N), the last block's leftmost: row i says where token i's content comes from."""
    product = layers[0]
    for layer in layers[1:]:
        product = layer @ product
    return product


def _class_token_map(rolled: Tensor, structure: VisionTransformer, images: Tensor) -> Tensor:
    rows = structure.rows(rolled)
    grid = grid_of(rows.shape[1], (images.shape[2], images.shape[3]))
    assert grid is not None
    return rows.unflatten(1, grid).float()
