"""A model card for the Hugging Face hub: what a model is, how it was trained, and what its explanations are worth."""

from __future__ import annotations

from xkd_eval.card.card import ModelCard, model_card

__all__ = ["ModelCard", "model_card"]
