"""A card, its pictures and the model's file, put into a repository of the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from xkd_eval.card.card import PICTURES, ModelCard
from xkd_eval.card.facts import file_of
from xkd_eval.classifiers.hub.reach import why_unreachable
from xkd_eval.errors import XkdError
from xkd_eval.foreign import reading, short

_CARD = "README.md"


def check_upload(model: str | Path, repository: str) -> None:
    """Refuse, before the work for it, what cannot be uploaded.

    Args:
        model: as `model_card` takes it.
        repository: ORG/NAME.

    Raises:
        XkdError: the model is no file, there is no such name, nobody is logged in, or the hub does not answer.
    """
    from huggingface_hub import get_token
    from huggingface_hub.utils import validate_repo_id

    with reading(f"push_to: {repository!r} is no repository", "expected ORG/NAME"):
        validate_repo_id(repository)
    if "/" not in repository:
        raise XkdError(f"push_to: {repository!r} is no repository; expected ORG/NAME")
    if file_of(model) is None:
        raise _no_file(str(model))
    if get_token() is None:
        raise XkdError("push_to: nobody is logged in at the hub; run `hf auth login`, or set HF_TOKEN")
    if why := why_unreachable():
        raise XkdError(f"push_to: the hub does not answer ({why}); leave it out, and push what is written later")


def upload(card: ModelCard, path: Path, repository: str) -> str:
    """Put a card that is written, its pictures and the model's file into a repository, in one commit.

    Args:
        card: of the model.
        path: where it was written.
        repository: ORG/NAME; made where there is none.

    Returns:
        The address of the repository.

    Raises:
        XkdError: the model has no file of its own, or the hub refuses.
    """
    from huggingface_hub import CommitOperationAdd, HfApi, constants

    if card.file is None:
        raise _no_file(card.name)
    files = {_CARD: path, card.file.name: card.file}
    files |= {f"{PICTURES}/{name}": path.parent / PICTURES / name for name in card.figures}
    remedy = "log in by `hf auth login` as somebody who may write there; what was written here stays"
    with reading(f"push_to: {repository!r} was not uploaded", remedy):
        hub = HfApi(endpoint=constants.ENDPOINT)
        address = hub.create_repo(repository, exist_ok=True)
        operations = [CommitOperationAdd(place, str(file)) for place, file in files.items()]
        hub.create_commit(repository, operations, commit_message="Add the model and its card")
    return str(address)


def _no_file(model: str) -> XkdError:
    return XkdError(f"push_to: {short(model)} is no file that could be uploaded; name a checkpoint as the model")
