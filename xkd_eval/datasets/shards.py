"""WebDataset: tar files of same-named members, an image and its class."""

from __future__ import annotations

import tarfile
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from xkd_eval.datasets.base import ImageDataset, Label, LabelKind, Sample
from xkd_eval.datasets.decode import decode_image
from xkd_eval.datasets.folder import is_image_name
from xkd_eval.datasets.imagenet import is_wordnet_id
from xkd_eval.errors import UnreadableImageError, XkdError


class TarShards(ImageDataset):
    """Uncompressed tar files, indexed once and read by offset: `KEY.jpg` (or .jpeg, .png, .webp) and `KEY.cls`.

    The key ends at the first dot of the member's name. A `.cls` member holds a class index, a WordNet id or a name. Ids
    are the keys, preceded by the shard's name where shards share keys.

    Args:
        paths: shards in order.
        name: of the set.

    Raises:
        XkdError: compressed, truncated, or no tar.
    """

    def __init__(self, paths: list[Path], name: str) -> None:
        self.name = name
        entries = [(path, key, entry) for path in paths for key, entry in _index(path).items()]
        repeated = any(count > 1 for count in Counter(key for _, key, _ in entries).values())
        self.ids = [f"{path.stem}/{key}" if repeated else key for path, key, _ in entries]
        self._members = [(path, entry.image) for path, _, entry in entries]
        self.labels, self.label_kind = _typed([entry.label for _, _, entry in entries])

    def load(self, position: int) -> Sample:
        """The image of that key; raises UnreadableImageError where the shard has none for it."""
        identifier = self.ids[position]
        path, member = self._members[position]
        if member is None:
            raise UnreadableImageError(f"{identifier}: '{path.name}' has a class for it and no image")
        try:
            with path.open("rb") as shard:
                shard.seek(member.offset)
                content = shard.read(member.size)
        except OSError as error:
            raise UnreadableImageError(f"{identifier}: '{path.name}' cannot be read ({error.strerror})") from error
        return Sample(decode_image(content, identifier))


class _Member(NamedTuple):
    offset: int
    size: int


class _Entry(NamedTuple):
    image: _Member | None
    label: str | None


def _index(path: Path) -> dict[str, _Entry]:
    """Key -> where the image lies, and the text of the class."""
    entries: dict[str, _Entry] = {}
    try:
        with tarfile.open(path, "r:") as shard:
            for member in shard:
                folder, _, name = member.name.removeprefix("./").rpartition("/")
                if not member.isfile() or name.startswith("."):
                    continue
                stem, _, suffix = name.partition(".")
                key = str(PurePosixPath(folder, stem))
                entry = entries.get(key, _Entry(None, None))
                if suffix.lower() == "cls":
                    content = shard.extractfile(member)
                    entries[key] = entry._replace(label=content.read().decode().strip() if content else None)
                elif is_image_name(f".{suffix}"):
                    entries[key] = entry._replace(image=_Member(member.offset_data, member.size))
    except (tarfile.TarError, OSError, UnicodeDecodeError) as error:
        raise XkdError(
            f"data: '{path}' cannot be read as a tar shard ({error}); expected an uncompressed, whole tar of "
            "KEY.jpg and KEY.cls"
        ) from error
    return entries


def _typed(texts: list[str | None]) -> tuple[list[Label], LabelKind]:
    present = [text for text in texts if text is not None]
    if not present:
        return [None] * len(texts), "none"
    if all(text.lstrip("-").isdecimal() for text in present):
        return [None if text is None else int(text) for text in texts], "index"
    return list(texts), "wordnet" if all(map(is_wordnet_id, present)) else "name"
