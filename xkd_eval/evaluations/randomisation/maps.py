"""The maps of a network whose layers are redrawn, one depth after the other."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.engines.replay import Replay
from xkd_eval.evaluations.batch import Batch
from xkd_eval.evaluations.randomisation.layers import Layers
from xkd_eval.evaluations.randomisation.protocol import EVERY_LAYER, RandomisationProtocol


@dataclass
class Depth:
    """One network of the test.

    Attributes:
        layers: redrawn since the depth before it.
        alone: the others have their learned weights.
    """

    layers: list[str]
    alone: bool


def depths_of(paths: list[str], protocol: RandomisationProtocol) -> list[Depth]:
    """The networks whose maps are compared.

    Args:
        paths: of the layers, as they are defined.
        protocol: the rules.
    """
    ordered = paths[::-1] if protocol.order == "top_down" else paths
    ends = [end for _, end in _spans(len(paths), protocol.depths)]
    if protocol.mode == "independent":
        return [Depth([ordered[end - 1]], alone=True) for end in ends]
    return [Depth(ordered[start:end], alone=False) for start, end in zip([0, *ends], ends, strict=False)]


def places_on_curve(n_depths: int, protocol: RandomisationProtocol) -> list[int]:
    """Which of a network's depths the points of the curve are, see `RandomisationProtocol.abscissae`."""
    if protocol.depths != EVERY_LAYER:
        return list(range(n_depths))
    return [end - 1 for _, end in _spans(n_depths, protocol.abscissae)]


def _spans(n_layers: int, shares: tuple[float, ...]) -> list[tuple[float, int]]:
    """(share, number of layers); at least one."""
    if shares == EVERY_LAYER:
        shares = tuple((place + 1) / n_layers for place in range(n_layers))
    return [(share, max(1, round(share * n_layers))) for share in shares]


@dataclass
class RandomisedMaps:
    """The maps of one network, redrawn.

    Args:
        batch: of all photographs.
        protocol: the rules.
    """

    batch: Batch
    protocol: RandomisationProtocol
    _classifier: Classifier = field(init=False)
    _layers: Layers = field(init=False)
    _depths: list[Depth] = field(init=False)
    _replay: Replay | None = field(init=False, default=None)
    _cuts: list[str | None] = field(init=False)
    _is_free: bool = field(init=False)

    def __post_init__(self) -> None:
        rules, explainer = self.protocol, self.batch.explainer
        self._is_free = explainer is not None and explainer.model_free
        with torch.inference_mode(False):
            self._classifier = self.batch.network.classifier.private()
            self._layers = Layers(self._classifier.model, rules.layers, rules.redrawn, rules.seeding, rules.weight_seed)
            self._depths = depths_of(self._layers.paths, rules)
            self._cuts = [None for _ in self._depths]
            if explainer is not None and explainer.reads_features and self._classifier.head is not None:
                self._classifier.model.to(memory_format=torch.channels_last)
                self._replay = Replay(self._classifier)
                self._cuts = [self._replay.cut_before(depth.layers) for depth in self._depths]

    def __len__(self) -> int:
        return len(self._depths)

    def of(self, part: Batch) -> Iterator[Tensor]:
        """(b, h, w) raw maps of some photographs, depth after depth.

        Args:
            part: at most a chunk of the clean pass.
        """
        if self._is_free:
            yield from (part.required_maps() for _ in self._depths)
            return
        chunk = self.batch.network.clean_chunk
        features = None if self._replay is None else _Features(self._replay, part.images, chunk)
        cuts = set(self._cuts)
        try:
            if features is not None:
                features.begin(cuts)
            for depth, cut in zip(self._depths, self._cuts, strict=True):
                if depth.alone:
                    self._layers.restore()
                for path in depth.layers:
                    self._layers.redraw(path)
                known = None if features is None else features.at(depth, cut, cuts if self._moves_down else set())
                yield part.explain(part.images, part.target, self._classifier, known)
        finally:
            self._layers.restore()

    @property
    def _moves_down(self) -> bool:
        """Whether the networks agree in ever less of their beginning, so that what is kept of it has to follow."""
        return self.protocol.order == "bottom_up" and self.protocol.mode == "cascading"


class _Features:
    """The features of a chunk of images by networks that follow one another: only what changes is computed again.

    Args:
        replay: of the network that is redrawn.
        images: (b, 3, H, W), at most a chunk.
        chunk: images a forward; the shape of every forward is the same, so that features depend on their image alone.
    """

    def __init__(self, replay: Replay, images: Tensor, chunk: int) -> None:
        padding = images.new_zeros((chunk - len(images), *images.shape[1:]))
        self._images = torch.cat([images, padding]).contiguous(memory_format=torch.channels_last)
        self._replay, self._count = replay, len(images)
        self._kept: dict[str, Tensor] = {}

    def begin(self, cuts: Collection[str | None]) -> None:
        """Run the network as it was learned, and keep what its cuts put out."""
        self._learned, self._kept = self._replay.features(self._images, keeping=_known(cuts))
        self._latest = self._learned

    def at(self, depth: Depth, cut: str | None, keeping: Collection[str | None]) -> Tensor:
        """(b, C, h, w) of the network that was redrawn so far.

        Args:
            depth: its last step.
            cut: before the layers of that step.
            keeping: cuts whose outputs later steps start from.
        """
        if self._replay.leaves_features(depth.layers):
            made = self._learned if depth.alone else self._latest
        else:
            made, found = self._replay.features(self._images, self._kept, cut, keeping=_known(keeping))
            self._kept |= found
        self._latest = made
        return made[: self._count]


def _known(cuts: Collection[str | None]) -> list[str]:
    return [cut for cut in cuts if cut is not None]
