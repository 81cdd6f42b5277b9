"""The errors a user can cause, each one sentence long: what was given, what was found, what to do."""

from __future__ import annotations


class XkdError(ValueError):
    """Bad input. The message is one line, names the argument, and the command line prints it and exits with code 2."""


class UnreadableImageError(XkdError):
    """An image that cannot be decoded. Runs skip it, count it and list it; `--strict` lets it through."""


class CamHeadError(XkdError):
    """A model without a class activation map in closed form; the message says why and which explainers hold."""


class ExplainerError(XkdError):
    """An explainer that does not hold for a model, or lacks what it needs (a mask, stored maps, a token grid)."""
