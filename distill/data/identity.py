"""By what the images of a training are known again, wherever they lie."""

from __future__ import annotations

from collections.abc import Sequence

from distill.recipe.fields import Strict
from xkd_eval.datasets import ImageDataset
from xkd_eval.datasets.embedded import EmbeddedDataset
from xkd_eval.datasets.samples import hash_of_stored
from xkd_eval.digests import digest_of

# Of photographs that are not in memory: enough to tell one set from another under the same names and sizes.
_LOOKED_AT = 64


class ImagesIdentity(Strict):
    """Digests of a training's images, or of those that it is tested on.

    Attributes:
        listing: of names, labels, class names and stored sizes, see `ImageDataset.digest`.
        content: of what is stored of them, see `content_digest`; None where the names stand for it.
    """

    listing: str
    content: str | None


def identity_of(listing: str, used: ImageDataset, *, resident: bool) -> ImagesIdentity:
    """The digests of some images.

    Args:
        listing: `ImageDataset.digest` of the set that they are drawn from.
        used: those that are used.
        resident: whether all of them are held in memory: then each is looked at, and else some, evenly spread.

    Raises:
        XkdError: the data set fails.
    """
    if isinstance(used, EmbeddedDataset):  # made at run time, image by image of its name
        return ImagesIdentity(listing=listing, content=None)
    step = 1 if resident else -(-len(used) // _LOOKED_AT)
    return ImagesIdentity(listing=listing, content=content_digest(used, range(0, len(used), step)))


def content_digest(dataset: ImageDataset, positions: Sequence[int]) -> str:
    """sha256 over what is stored of the images at `positions`, whatever they are called.

    Raises:
        XkdError: the data set fails in another way than that an image cannot be read.
    """
    return digest_of([hash_of_stored(dataset, position) for position in positions])
