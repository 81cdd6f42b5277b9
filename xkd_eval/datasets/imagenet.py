"""ImageNet as folders named by WordNet id."""

from __future__ import annotations

import re
from pathlib import Path

from xkd_eval.datasets.folder import FolderOfImages, files_below, subfolder_names

_WORDNET_ID = re.compile(r"n\d{8}")


def is_wordnet_id(text: str) -> bool:
    """Whether a text reads n01440764."""
    return _WORDNET_ID.fullmatch(text) is not None


class WordNetFolders(FolderOfImages):
    """`root/n01440764/*.JPEG`, all classes or some: the label is the WordNet id, never the folder's place.

    Subfolders with other names are left out.
    """

    label_kind = "wordnet"

    def __init__(self, root: Path, name: str) -> None:
        folders = [folder for folder in subfolder_names(root) if is_wordnet_id(folder)]
        ids = [path for folder in folders for path in files_below(root / folder, prefix=folder)]
        super().__init__(root, ids, name)
        self.labels = [identifier.partition("/")[0] for identifier in ids]
