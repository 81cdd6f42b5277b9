"""Labels as files hold them, in text -> class indices, WordNet ids or names; one kind for a set."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

from xkd_eval.datasets.base import Label, LabelKind
from xkd_eval.datasets.identifiers import identifier_of
from xkd_eval.datasets.imagenet import is_wordnet_id
from xkd_eval.errors import XkdError
from xkd_eval.foreign import short

_INDEX = re.compile(r"-?[0-9]{1,9}")
_WHOLE = re.compile(rf"({_INDEX.pattern})(\.0+)?")


def typed_labels(texts: Sequence[str | None], where: Callable[[int], str]) -> tuple[list[Label], LabelKind]:
    """What a set's label texts are.

    Whole numbers are class indices, n01440764 is a WordNet id, anything else is a name. Among names there may be some
    that look like a number; a few other texts among indices or WordNet ids are damage.

    Args:
        texts: None where there is no label.
        where: a place among them -> the file and line or member that holds it, for the message.

    Raises:
        XkdError: one is unlike the others.
    """
    kinds = [None if text is None else _kind(text) for text in texts]
    counts = Counter(kind for kind in kinds if kind is not None)
    if not counts:
        return list(texts), "none"
    kind, count = counts.most_common(1)[0]
    if len(counts) > 1 and not (kind == "name" and count > counts.total() / 2):
        odd = next(place for place, other in enumerate(kinds) if other not in (None, kind))
        raise XkdError(
            f"data: {where(odd)} has the label {short(texts[odd])}, and {count} others are {_CALLED[kind]}; mend it"
        )
    if kind == "index":
        return [None if text is None else int(text) for text in texts], kind
    return [None if text is None else identifier_of(text) for text in texts], kind


def whole_number(text: str) -> str | None:
    """ "7" of 7 and of 7.0, "007" of 007; None of what is no whole number."""
    found = _WHOLE.fullmatch(text)
    return None if found is None else found[1]


_CALLED: dict[LabelKind, str] = {"index": "class indices", "wordnet": "WordNet ids", "name": "names"}


def _kind(text: str) -> LabelKind:
    if _INDEX.fullmatch(text):
        return "index"
    return "wordnet" if is_wordnet_id(text) else "name"
