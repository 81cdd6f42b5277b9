"""ImageNet as folders named by WordNet id."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from xkd_eval.datasets.folder import FolderOfImages, check_links, files_below

_WORDNET_ID = re.compile(r"n[0-9]{8}")
# timm's name of a list of classes -> its file within timm; the other lists are parts of these.
_CLASS_LISTS = {
    "imagenet-1k": "data/_info/imagenet_synsets.txt",
    "imagenet-21k": "data/_info/imagenet21k_goog_synsets.txt",
    "imagenet-22k": "data/_info/imagenet22k_synsets.txt",
    "imagenet-22k-ms": "data/_info/imagenet22k_ms_synsets.txt",
}


def is_wordnet_id(text: str) -> bool:
    """Whether a text reads n01440764."""
    return _WORDNET_ID.fullmatch(text) is not None


def are_known_wordnet_ids(texts: Sequence[str]) -> bool:
    """Whether every text is the WordNet id of a class of an ImageNet; False where there are none."""
    # By their looks first: most class folders are not called so.
    return bool(texts) and all(map(is_wordnet_id, texts)) and _known_ids().issuperset(texts)


@cache
def _known_ids() -> frozenset[str]:
    timm = find_spec("timm")  # which takes seconds to import
    assert timm is not None and timm.origin is not None
    files = [Path(timm.origin).parent / file for file in _CLASS_LISTS.values()]
    if all(file.is_file() for file in files):
        return frozenset(wordnet_id for file in files for wordnet_id in file.read_text().split())
    from timm.data import ImageNetInfo  # of a release that keeps them elsewhere

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
