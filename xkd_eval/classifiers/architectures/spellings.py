"""The names that published implementations give to the tensors of the CIFAR families.

Where names are those of an implementation, they say which network it is: shapes say neither where one pools nor which
activation it has. So weights are never paired by their order alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from xkd_eval.classifiers.architectures.mobilenet_v2 import STAGES
from xkd_eval.classifiers.weights.matching import COUNTS, Layout
from xkd_eval.classifiers.weights.unwrapping import listed
from xkd_eval.errors import XkdError


@dataclass(frozen=True)
class Spelling:
    """Another implementation's names.

    Attributes:
        rules: patterns of our names, and their replacements, each tried on what the ones before it have left.
        note: a sentence's end on where theirs computes something else.
    """

    rules: tuple[tuple[str, str], ...]
    note: str = ""

    def of(self, name: str) -> str:
        """Their name of a tensor of ours."""
        for pattern, replacement in self.rules:
            name = re.sub(pattern, replacement, name)
        return name


def layouts(name: str, own: Mapping[str, Tensor]) -> list[Layout]:
    """What files may call a network's tensors: as it does itself, or as RepDistiller (Tian et al., ICLR 2020) and
    mdistiller do.

    Args:
        name: of its architecture, as Checkpoint has it.
        own: its state dict.
    """
    library, _, name = name.rpartition("/")
    spelling = _spelling_of(name) if library in ("", "xkd") else None
    # Theirs project wherever the shape changes; zeros may be padded in other ways than here.
    if spelling is None or (spelling is _RESNET and not any(".shortcut." in key for key in own)):
        return [Layout(own)]
    told = "paired by the names that RepDistiller and mdistiller give to the same tensors"
    return [Layout(own), Layout(own, {key: spelling.of(key) for key in own}, told + spelling.note)]


def refuse_unknown_names(name: str, known: Sequence[Layout], state_dict: Mapping[str, Tensor], where: str) -> None:
    """Raise XkdError where shapes alone say that a file may hold a network.

    Args:
        name: of the network, for the message.
        known: what files may call its tensors.
        state_dict: of the file.
        where: begins the message: the argument and the file.
    """
    theirs = {key: tensor for key, tensor in state_dict.items() if not key.endswith(COUNTS)}
    for layout in known:
        own = [tensor.shape[1:] for key, tensor in layout.own.items() if not key.endswith(COUNTS)]
        if own == [tensor.shape[1:] for tensor in theirs.values()]:
            others = [key for key in theirs if key not in layout.own]
            raise XkdError(
                f"{where} holds {len(own)} tensors whose shapes are those of {name} in their order, but whose names "
                f"({listed(others)}) are of no implementation that is known here; since shapes say neither where a "
                "network pools nor which activation it has, pass its own module as `model` py:package.module:function"
            )


def _spelling_of(name: str) -> Spelling | None:
    return next((spelling for pattern, spelling in _PUBLISHED if re.fullmatch(pattern, name)), None)


def _blocks() -> tuple[tuple[str, str], ...]:
    """MobileNetV2's blocks, which are numbered within groups of equal width there, and within stages here."""
    rules, group = [], 0
    for stage, groups in enumerate(STAGES, start=1):
        place = 0
        for _, _, repeats, _ in groups:
            for number in range(repeats):
                rules.append((rf"^features\.stage{stage}\.{place}\.", f"blocks.{group}.{number}.conv."))
                place += 1
            group += 1
    return tuple(rules)


_FC = (r"^linear\.", "fc.")
_STEM = ((r"^features\.stem\.0\.", "conv1."), (r"^features\.stem\.1\.", "bn1."))
_STAGE = r"^features\.stage(\d)\.(\d+)\."

_RESNET = Spelling((_FC, (r"\.shortcut\.", ".downsample.")))
_WIDE_RESNET = Spelling(
    (
        _FC,
        (r"^features\.stem\.", "conv1."),
        (r"^features\.activation\.0\.", "bn1."),
        (_STAGE + r"shortcut\.", r"block\1.layer.\2.convShortcut."),
        (_STAGE, r"block\1.layer.\2."),
    )
)
_VGG = Spelling(
    (
        (r"^linear\.", "classifier."),
        *((rf"^features\.stage{number}\.", f"block{number - 1}.") for number in range(1, 6)),
    ),
    "; at 64 px theirs pools once more, and ours does not",
)
_MOBILENET_V2 = Spelling(
    (
        (r"^linear\.", "classifier.0."),
        (r"^features\.stem\.", "conv1."),
        (r"^features\.last\.", "conv2."),
        *_blocks(),
        (r"\.expand\.", "."),
        (r"\.filter\.0\.", ".3."),
        (r"\.filter\.1\.", ".4."),
        (r"\.project\.0\.", ".6."),
        (r"\.project\.1\.", ".7."),
    )
)
_SHUFFLENET_V1 = Spelling(
    (
        *_STEM,
        *(
            (_STAGE + rf"residual\.{place}\.{part}\.", rf"layer\1.\2.{layer}{number}.")
            for number, place in enumerate((0, 2, 3), start=1)
            for part, layer in enumerate(("conv", "bn"))
        ),
    )
)
_SHUFFLENET_V2 = Spelling(
    (
        *_STEM,
        (r"^features\.last\.0\.", "conv2."),
        (r"^features\.last\.1\.", "bn2."),
        *(
            (_STAGE + rf"{branch}\.{place}\.{part}\.", rf"layer\1.\2.{layer}{first + place}.")
            for branch, first, places in (("branch", 1, 3), ("left", 1, 2), ("right", 3, 3))
            for place in range(places)
            for part, layer in enumerate(("conv", "bn"))
        ),
    )
)

_PUBLISHED = (
    (r"resnet(8|14|20|32|44|56|110|8x4|32x4)", _RESNET),
    (r"wrn_\d+_\d+", _WIDE_RESNET),
    (r"vgg\d+", _VGG),
    (r"mobilenetv2", _MOBILENET_V2),
    (r"shufflenetv1", _SHUFFLENET_V1),
    (r"shufflenetv2", _SHUFFLENET_V2),
)
