"""ImageNet as folders named by WordNet id."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from xkd_eval.datasets.folder import FolderOfImages, check_links, files_below

_WORDNET_ID = re.compile(r"n[0-9]{8}")
# In timm's words; the others are parts of these.
_CLASS_LISTS = ("imagenet-1k", "imagenet-21k", "imagenet-22k", "imagenet-22k-ms")


def is_wordnet_id(text: str) -> bool:
    """Whether a text reads n01440764."""
    return _WORDNET_ID.fullmatch(text) is not None


def are_known_wordnet_ids(texts: Sequence[str]) -> bool:
    """Whether every text is the WordNet id of a class of an ImageNet; False where there are none."""
    # By their looks first: most class folders are not called so, and timm takes a second to import.
    return bool(texts) and all(map(is_wordnet_id, texts)) and _known_ids().issuperset(texts)


@cache
def _known_ids() -> frozenset[str]:
    from timm.data import ImageNetInfo

    return frozenset(wordnet_id for name in _CLASS_LISTS for wordnet_id in ImageNetInfo(name).label_names())


class WordNetFolders(FolderOfImages):
    """`root/n01440764/*.JPEG`, all classes or some: the label is the WordNet id, never the folder's place.

    Args:
        root: the folder.
        folders: in it, each named by a WordNet id.
        name: of the set.
    """

    label_kind = "wordnet"

    def __init__(self, root: Path, folders: Sequence[str], name: str) -> None:
        check_links(root)
        files = [path for folder in folders for path in files_below(root / folder, prefix=folder)]
        super().__init__(root, files, name)
        self.labels = [file.partition("/")[0] for file in files]
