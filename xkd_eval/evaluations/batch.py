"""Batch: what a test sees of some photographs, and what it may ask of their model again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.errors import XkdError
from xkd_eval.explainers.base import Context, Explainer
from xkd_eval.explainers.stored import StoredMaps

MASK_SIZE = (224, 224)
"""(H, W) at which masks come, reached by PIL's nearest from the photograph's size."""


class Network(Protocol):
    """What a test may ask of the model again; every forward has one fixed shape, so a row depends on its image alone.

    Attributes:
        classifier: the network as it was made, on the device of the batch; a copy for this call of the test. A test
            that changes it gives it to `explain`; `classify` asks the network as it was.
        chunk: images that one forward takes; a test that makes many images makes about so many at a time.
        clean_chunk: photographs that one forward of the clean pass takes, or one call of an explainer.
    """

    @property
    def classifier(self) -> Classifier: ...

    @property
    def chunk(self) -> int: ...

    @property
    def clean_chunk(self) -> int: ...

    def classify(self, images: Tensor) -> Tensor:
        """(n, 3, H, W) normalised, any n -> (n, K) float32 logits."""
        ...

    def explain(
        self,
        explainer: Explainer,
        images: Tensor,
        classes: Tensor,
        ids: Sequence[str],
        classifier: Classifier | None,
        context: Context | None = None,
    ) -> Tensor:
        """(n, 3, H, W) and (n,) classes -> (n, h, w) raw maps; of `classifier`, where it is given."""
        ...


@dataclass(frozen=True)
class Batch:
    """What a test sees of B photographs, everything on one device. Each call of a test has a copy of its own.

    Attributes:
        ids: B image ids.
        pixels: (B, 3, H, W) uint8 RGB at the model's input size; of images of other channels, or of finer values than
            bytes, (B, C, H, W) uint8 or float32 in 0 to 1.
        images: (B, 3, H, W) normalised.
        logits: (B, K) float32 of the clean images.
        target: (B,) int64, the class that `maps` explain.
        labels: (B,) int64, -1 where there is none.
        maps: (B, h, w) raw maps as the explainer returns them; None for a test that needs none.
        masks: (B, 224, 224) int8, 1 object, 0 background, -1 ignored; None for sets without masks.
        preprocess: that made `images` of `pixels`.
        network: the model, to be asked again.
        explainer: that made `maps`.
        features: (B, C, h, w) of the clean images, of which the CAM is made; None without a CAM head.
        boxes: B of (n, 4) int64 on the CPU, the objects' x0, y0, x1, y1 in the photograph's own pixels, ends inclusive;
            None for sets without boxes.
        mask_boxes: B of (1, 4) int64 likewise, the tight box of the mask's object, (0, 4) where there is none; None for
            sets without masks.
        sizes: B of (height, width), the photographs' own.
        tiles: (B, n) int64, of grids (see datasets.Grids): the class of each tile, row by row; `target` is the first's.
            None for photographs.
        tile_scale: the size of a tile against that of the photograph alone; below 1 where the network takes images of
            one size only.
        reference: the same photographs as the reference model sees, classifies and explains them; None for tests that
            need no reference.
        n_images: in the data set, for a test that keeps more of an image than it can of each of many.
        held: (B, K) booleans, all classes that the photograph holds, of which `labels` is one; None for sets of one
            class a photograph.

    Example:
        What a test makes of a batch, here the probability of the prediction:

        >>> import torch
        >>> from xkd_eval import Batch, Preprocess
        >>> pixels = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
        >>> logits = torch.tensor([[0.0, 0.0], [100.0, 0.0]])
        >>> batch = Batch(("a", "b"), pixels, pixels.float(), logits, logits.argmax(1), logits.argmax(1), None, None,
        ...     Preprocess(size=(4, 4)), network=None)
        >>> batch.logits.softmax(1).amax(1).tolist()
        [0.5, 1.0]
    """

    ids: tuple[str, ...]
    pixels: Tensor
    images: Tensor
    logits: Tensor
    target: Tensor
    labels: Tensor
    maps: Tensor | None
    masks: Tensor | None
    preprocess: Preprocess
    network: Network
    explainer: Explainer | None = None
    features: Tensor | None = None
    tiles: Tensor | None = None
    tile_scale: float = 1.0
    reference: Batch | None = None
    n_images: int = 1
    boxes: tuple[Tensor, ...] | None = None
    mask_boxes: tuple[Tensor, ...] | None = None
    sizes: tuple[tuple[int, int], ...] = ()
    held: Tensor | None = None

    def required_maps(self) -> Tensor:
        """`maps`, for a test that needs them.

        Raises:
            XkdError: there are none.
        """
        if self.maps is None:
            raise XkdError("maps: the batch has none; the test says that it needs no maps")
        return self.maps

    def explain(
        self,
        images: Tensor,
        classes: Tensor,
        classifier: Classifier | None = None,
        features: Tensor | None = None,
    ) -> Tensor:
        """Explain images that the test made, or a model that it changed, by the explainer of `maps`.

        Args:
            images: (n, 3, H, W) normalised; image i stands for the photograph i modulo B, whose id seeds what is
            random.
            classes: (n,) int64.
            classifier: instead of the network's own.
            features: (n, C, h, w) of these images in that classifier, where they are known; see `Context`.

        Returns:
            (n, h, w) float32 raw maps.

        Raises:
            XkdError: the test needs no maps, so it has no explainer; or they are stored, and would be the same for
                every image, class and network.
        """
        if self.explainer is None:
            raise XkdError("explainer: the batch has none; the test says that it needs no maps")
        if isinstance(self.explainer, StoredMaps):
            raise XkdError(
                "maps: stored maps cannot be made again, of another image, class or network; give an `explainer` that "
                "makes them, or leave this test out"
            )
        places = [place % len(self.ids) for place in range(len(images))]
        ids = [self.ids[place] for place in places]
        context = Context(tuple(ids), features, None if self.masks is None else self.masks[places])
        return self.network.explain(self.explainer, images, classes, ids, classifier, context)
