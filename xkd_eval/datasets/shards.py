"""WebDataset: tar files of same-named members, an image and its class."""

from __future__ import annotations

import tarfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from xkd_eval.datasets.archive import members
from xkd_eval.datasets.base import ImageDataset, Sample, content_hash
from xkd_eval.datasets.decode import decode_image
from xkd_eval.datasets.folder import ARRAY_SUFFIX, is_image_name
from xkd_eval.datasets.handles import SameFile
from xkd_eval.datasets.identifiers import identifier_of
from xkd_eval.datasets.label_texts import typed_labels
from xkd_eval.errors import UnreadableImageError, XkdError
from xkd_eval.foreign import reading, short

_EXPECTED = "expected an uncompressed, whole tar of KEY.jpg and KEY.cls; fetch or write it again"
_CLASS = "cls"
_LONGEST_CLASS = 1024


class TarShards(ImageDataset):
    """Uncompressed tar files, indexed once and read by offset: `KEY.jpg` (or .jpeg, .png, .webp) and `KEY.cls`.

    The key ends at the first dot of the member's name. A `.cls` member holds a class index, a WordNet id or a name. Ids
    are the keys, preceded by the shard's name where shards share keys. `KEY.seg.png` is the image of a key that has no
    other; links and what else is no file are images that cannot be read.

    Args:
        paths: shards in order.
        name: of the set.

    Raises:
        XkdError: compressed, damaged or cut anywhere but within an image; a member or a key's image that is there
            twice; a `.cls` that is empty, no UTF-8 or unlike the others.
    """

    def __init__(self, paths: list[Path], name: str) -> None:
        self.name = name
        same = {path: SameFile.of(path) for path in paths}
        entries = [(path, key, entry) for path in paths for key, entry in _index(path).items()]
        repeated = any(count > 1 for count in Counter(key for _, key, _ in entries).values())
        self.ids = [identifier_of(f"{path.stem}/{key}" if repeated else key) for path, key, _ in entries]
        self._images = [(same[path], entry.image) for path, _, entry in entries]
        self.labels, self.label_kind = typed_labels(
            [entry.label for _, _, entry in entries],
            lambda place: f"'{entries[place][1]}.{_CLASS}' in {str(entries[place][0])!r}",
        )

    def load(self, position: int) -> Sample:
        """The image of that key; raises UnreadableImageError where the shard has none for it."""
        content = self._content(position)
        return Sample(decode_image(content, self.ids[position]), content_hash=content_hash(content))

    def content_hash(self, position: int) -> str:
        """Of the member's bytes."""
        return content_hash(self._content(position))

    def stored_sizes(self, positions: Sequence[int] | None = None) -> list[int] | None:
        """Of the members."""
        images = [self._images[position][1] for position in (range(len(self)) if positions is None else positions)]
        return [-1 if image is None else image.size for image in images]

    def _content(self, position: int) -> bytes:
        identifier = self.ids[position]
        shard, image = self._images[position]
        path = shard.path
        if image is None:
            raise UnreadableImageError(f"{identifier}: {path.name!r} has a class for it and no image")
        if image.fault:
            raise UnreadableImageError(f"{identifier}: {image.fault} in {path.name!r}; expected an image file")
        what = f"{identifier}: {path.name!r} cannot be read"
        shard.check()
        with reading(what, "fetch it again", UnreadableImageError), path.open("rb") as file:
            return _read(file, image)


@dataclass(frozen=True)
class _Member:
    """Where a member's bytes lie; with a fault, why there are none."""

    offset: int
    size: int
    fault: str = ""


@dataclass
class _Entry:
    """What a shard has for a key: the image that was chosen, the text of the class."""

    found: dict[str, _Member] = field(default_factory=dict)
    image: _Member | None = None
    label: str | None = None


def _index(path: Path) -> dict[str, _Entry]:
    entries: dict[str, _Entry] = {}
    stored: dict[str, _Member] = {}
    for member in members(path, _EXPECTED):
        full = member.name.removeprefix("./")
        folder, _, name = full.rpartition("/")
        stem, _, suffix = name.partition(".")
        if member.isreg():
            stored[full] = _Member(member.offset_data, member.size, "stored sparse" if member.issparse() else "")
        if not stem or not (suffix.lower() == _CLASS or is_image_name(f".{suffix}")):
            continue
        found = entries.setdefault(str(PurePosixPath(folder, stem)), _Entry()).found
        here = stored[full] if member.isreg() else _not_a_file(member, stored)
        if suffix.lower() in found:
            places = f"at byte {found[suffix.lower()].offset} and at byte {here.offset}"
            raise XkdError(f"data: {str(path)!r} has the member {short(full)} twice, {places}; remove one")
        found[suffix.lower()] = here
    with path.open("rb") as shard:
        for key, entry in entries.items():
            entry.image = _image(path, key, entry)
            if _CLASS in entry.found:
                entry.label = _label(shard, f"data: {str(path)!r} has a class for {short(key)}", entry.found[_CLASS])
    return entries


def _not_a_file(member: tarfile.TarInfo, stored: dict[str, _Member]) -> _Member:
    if member.islnk() and (target := stored.get(member.linkname.removeprefix("./"))):
        return target
    what = "a link" if member.islnk() or member.issym() else "a folder" if member.isdir() else "no file"
    return _Member(member.offset, -1, what)


def _image(path: Path, key: str, entry: _Entry) -> _Member | None:
    """KEY.jpg; else KEY.anything.jpg; arrays beside images are of something else, such as features."""
    suffixes = [suffix for suffix in entry.found if suffix != _CLASS]
    suffixes = [suffix for suffix in suffixes if not f".{suffix}".endswith(ARRAY_SUFFIX)] or suffixes
    chosen = [suffix for suffix in suffixes if "." not in suffix] or suffixes
    if len(chosen) > 1:
        named = " and ".join(short(f"{key}.{suffix}") for suffix in chosen[:2])
        raise XkdError(f"data: {str(path)!r} has {named}, two images of one key (it ends at the first dot); remove one")
    return entry.found[chosen[0]] if chosen else None


def _label(shard: BinaryIO, what: str, member: _Member) -> str:
    where = f"{what} at byte {member.offset} that"
    remedy = "expected a class index, a WordNet id or a name"
    if member.fault or member.size > _LONGEST_CLASS:
        raise XkdError(f"{where} is {member.fault or f'of {member.size} bytes'}; {remedy}")
    with reading(f"{where} cannot be read", remedy):
        text = _read(shard, member).decode().strip()
    if not text or not text.isprintable():
        raise XkdError(f"{where} is {short(text)}; {remedy}")
    return text


def _read(shard: BinaryIO, member: _Member) -> bytes:
    shard.seek(member.offset)
    content = shard.read(member.size)
    if len(content) < member.size:
        raise EOFError(f"it ends {member.size - len(content)} bytes before the member")
    return content
