"""Whether the Hugging Face hub answers, and what of it is kept here."""

from __future__ import annotations

from pathlib import Path

from xkd_eval.foreign import reason

_SECONDS = 3.0  # for the hub to answer; its own library tries for a minute or two
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""What timm calls a repository's weights, in the order in which they are taken."""


def why_unreachable() -> str:
    """Why the hub does not answer, asked once and for a few seconds; empty where it does.

    Its own library asks again and again, file by file.
    """
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        get_session().head(constants.ENDPOINT, timeout=_SECONDS)
    except Exception as error:  # of whichever library it fetches by
        return reason(error)
    return ""


def kept_weights(repository: str) -> Path | None:
    """The weights of a repository that the hub's library keeps; None where it has none."""
    from huggingface_hub import try_to_load_from_cache

    found = (try_to_load_from_cache(repository, name) for name in WEIGHTS)
    return next((Path(path) for path in found if isinstance(path, str)), None)
