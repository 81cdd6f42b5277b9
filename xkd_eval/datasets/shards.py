"""WebDataset: tar files of same-named members, an image and its class."""

from __future__ import annotations

import sys
import tarfile
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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
_LINK = "a link"


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
        self._shards = [SameFile.of(path) for path in paths]
        self._faults: dict[int, str] = {}
        # An image's shard, offset and size, 20 bytes in all: an index of objects would outgrow what is read.
        self._shard_of, self._offsets, self._sizes = array("i"), array("q"), array("q")
        keys: list[str] = []
        texts: list[str | None] = []
        for number, path in enumerate(paths):
            for key, image, label in _index(path):
                if image is None or image.fault:
                    self._faults[len(keys)] = "" if image is None else image.fault
                keys.append(key)
                texts.append(label)
                self._shard_of.append(number)
                self._offsets.append(-1 if image is None else image.offset)
                self._sizes.append(-1 if image is None else image.size)
        if len(set(keys)) == len(keys):
            self.ids = [identifier_of(key) for key in keys]
        else:
            self.ids = [
                identifier_of(f"{paths[number].stem}/{key}") for number, key in zip(self._shard_of, keys, strict=True)
            ]
        self.labels, self.label_kind = typed_labels(
            texts, lambda place: f"'{keys[place]}.{_CLASS}' in {str(paths[self._shard_of[place]])!r}"
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
        return [self._sizes[position] for position in (range(len(self)) if positions is None else positions)]

    def _content(self, position: int) -> bytes:
        identifier = self.ids[position]
        shard = self._shards[self._shard_of[position]]
        path, fault = shard.path, self._faults.get(position)
        if fault == "":
            raise UnreadableImageError(f"{identifier}: {path.name!r} has a class for it and no image")
        if fault:
            raise UnreadableImageError(f"{identifier}: {fault} in {path.name!r}; expected an image file")
        what = f"{identifier}: {path.name!r} cannot be read"
        shard.check()
        with reading(what, "fetch it again", UnreadableImageError), path.open("rb") as file:
            return _read(file, _Member(self._offsets[position], self._sizes[position]))


@dataclass(frozen=True, slots=True)
class _Member:
    """Where a member's bytes lie; with a fault, why there are none."""

    offset: int
    size: int
    fault: str = ""


_Found = tuple[tuple[str, _Member], ...]
"""What a shard has for a key, by suffix: tuples take half of a dictionary's memory, and there is one an image."""


def _index(path: Path) -> Iterator[tuple[str, _Member | None, str | None]]:
    """Key, image, and the text of the class, of each of a shard's keys in order."""
    entries: dict[str, _Found] = {}
    links: dict[int, str] = {}
    for member in members(path, _EXPECTED):
        folder, _, name = _plain(member.name).rpartition("/")
        stem, _, suffix = name.partition(".")
        suffix = sys.intern(suffix.lower())
        if not stem or not (suffix == _CLASS or is_image_name(f".{suffix}")):
            continue
        if member.islnk():
            links[member.offset] = _plain(member.linkname)
        key, here = str(PurePosixPath(folder, stem)), _member(member)
        found = entries.get(key, ())
        if twice := [former for other, former in found if other == suffix]:
            places = f"at byte {twice[0].offset} and at byte {here.offset}"
            raise XkdError(
                f"data: {str(path)!r} has the member {short(_plain(member.name))} twice, {places}; remove one"
            )
        entries[key] = (*found, (suffix, here))
    targets = _targets(path, links) if links else {}
    with path.open("rb") as shard:
        for key, found in entries.items():
            there = {suffix: targets.get(one.offset, one) if one.fault == _LINK else one for suffix, one in found}
            label = there.pop(_CLASS, None)
            what = f"data: {str(path)!r} has a class for {short(key)}"
            yield key, _image(path, key, there), None if label is None else _label(shard, what, label)


def _plain(name: str) -> str:
    return name.removeprefix("./")


def _member(member: tarfile.TarInfo) -> _Member:
    if member.isreg():
        return _Member(member.offset_data, member.size, "stored sparse" if member.issparse() else "")
    what = _LINK if member.islnk() or member.issym() else "a folder" if member.isdir() else "no file"
    return _Member(member.offset, -1, what)


def _targets(path: Path, links: Mapping[int, str]) -> dict[int, _Member]:
    """Where the bytes of hard links lie: in files before them. Found by a second reading, as few shards have any.

    Args:
        path: of the shard.
        links: the place of a link's header -> the name that it leads to.
    """
    wanted, last, found = set(links.values()), {}, {}
    for member in members(path, _EXPECTED):
        name = _plain(member.name)
        if member.isreg() and name in wanted:
            last[name] = _member(member)
        elif (target := last.get(links.get(member.offset, ""))) is not None:
            found[member.offset] = target
    return found


def _image(path: Path, key: str, found: Mapping[str, _Member]) -> _Member | None:
    """KEY.jpg; else KEY.anything.jpg; arrays beside images are of something else, such as features."""
    suffixes = list(found)
    suffixes = [suffix for suffix in suffixes if not f".{suffix}".endswith(ARRAY_SUFFIX)] or suffixes
    chosen = [suffix for suffix in suffixes if "." not in suffix] or suffixes
    if len(chosen) > 1:
        named = " and ".join(short(f"{key}.{suffix}") for suffix in chosen[:2])
        raise XkdError(f"data: {str(path)!r} has {named}, two images of one key (it ends at the first dot); remove one")
    return found[chosen[0]] if chosen else None


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
