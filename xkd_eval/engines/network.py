"""Network: one classifier made ready for a run: the clean pass, further passes and explanations, all in one shape.

Every forward of a kind has one fixed shape, a chunk of images (see chunks.py), and the last one is padded: float32
convolutions differ by about 3e-6 between batch shapes, and not within one. So on one kind of device an answer depends
on its image alone: not on the batch size, the order, a resumption, the number of processes, or what else is evaluated
beside it.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.classifiers.told import LOG
from xkd_eval.devices import free_memory
from xkd_eval.engines.base import Forward, Precision
from xkd_eval.engines.chunks import chunk_size, clean_chunk, within_memory
from xkd_eval.engines.eager import check_finite, on_device, prepare, refuse_logits
from xkd_eval.engines.memory import is_out_of_memory
from xkd_eval.engines.plan import TORCH, Plan
from xkd_eval.errors import XkdError
from xkd_eval.explainers.base import Context, Explainer

_T = TypeVar("_T")


class Network:
    """A classifier on its device.

    Args:
        classifier: left as it is.
        preprocess: under which it is evaluated.
        device: where it runs.
        precision: of `classify`. The clean pass, which gives the maps and the class that they explain, is torch's in
            float32: it is one exact forward among many.
        plan: how `classify` is run; by default by torch. Of another engine `forward` is the network on it.
        remembers: keep what `classify` answers until `forget`, so that an image that several tests make is forwarded
            once. On a CPU alone: an accelerator would have to send each image back to tell it from others.
        explained: called while `explain` makes maps with how many there are, and of how many.

    Attributes:
        classifier: the network as it was made, on the device and under that input convention: explainers see this one,
            because folded batch norms would change what some of them read (FullGrad's biases). A private copy.
        preprocess: as given.
        plan: as given.
        chunk: images a forward, of those that a test makes.
        clean_chunk: photographs a forward of the clean pass, and of an explainer.
    """

    def __init__(
        self,
        classifier: Classifier,
        preprocess: Preprocess,
        device: torch.device,
        precision: Precision = "fp32",
        *,
        plan: Plan | None = None,
        forward: Forward | None = None,
        remembers: bool = False,
        explained: Callable[[int, int], None] = lambda made, due: None,
    ) -> None:
        self.classifier = _under(preprocess, on_device(classifier, device).private())
        self.preprocess = preprocess
        self.plan = plan or Plan(chunk_size(classifier, preprocess, device), clean_chunk(device))
        self.chunk, self.clean_chunk = self.plan.chunk, self.plan.clean_chunk
        self._exact = prepare(classifier, device, size=preprocess.size)
        self._fast: Callable[[Tensor], Tensor] = forward or self._exact
        if precision != "fp32" and forward is None:
            self._fast = prepare(classifier, device, precision, preprocess.size)
        self._precision = precision
        self._explained = explained
        self._finite = torch.ones((), dtype=torch.bool, device=device)
        self._answered: dict[bytes, Tensor] | None = {} if remembers and device.type == "cpu" else None
        self._keep_within_memory()

    @property
    def chunks(self) -> dict[str, int] | None:
        """Images a forward, where the memory does not suffice for as many as were planned; None where it does."""
        if (self.chunk, self.clean_chunk) == (self.plan.chunk, self.plan.clean_chunk):
            return None
        return {"chunk": self.chunk, "clean_chunk": self.clean_chunk}

    @torch.inference_mode()
    def clean(self, images: Tensor, ids: Sequence[str]) -> tuple[Tensor, Tensor | None]:
        """The pass that classifies.

        Args:
            images: (B, 3, H, W) normalised.
            ids: B, for messages.

        Returns:
            (B, K) logits, and the (B, C, h, w) features that the CAM is read off; None without a CAM head.

        Raises:
            XkdError: logits that are not finite.
        """
        if self._exact.head is None:
            features = None
            logits = self._fitting(lambda size: _joined(_in_chunks(self._exact, images, size)), clean=True)
        else:
            forward = self._exact.forward_with_features
            passes = self._fitting(lambda size: list(_in_chunks(forward, images, size)), clean=True)
            logits = torch.cat([made.logits[:n] for made, n in passes])
            features = torch.cat([made.features[:n] for made, n in passes])
        check_finite(logits, self.classifier.name, f"the images from {ids[0]} to {ids[-1]}")
        return logits, features

    @torch.inference_mode()
    def classify(self, images: Tensor) -> Tensor:
        """(n, 3, H, W) normalised, any n -> (n, K) float32 logits.

        Whether they are finite is remembered, and not asked, since an accelerator would wait for the answer: see
        `check_answers`.
        """
        logits = self._forwarded(images) if self._answered is None else self._remembered(images, self._answered)
        self._finite = self._finite & logits.isfinite().all()
        return logits

    def forget(self) -> None:
        """Let go of what was remembered: other photographs come."""
        if self._answered is not None:
            self._answered.clear()

    def _remembered(self, images: Tensor, answered: dict[bytes, Tensor]) -> Tensor:
        keys = _keys(images)
        new = {key: place for place, key in enumerate(keys) if key not in answered}
        if new:
            found = self._forwarded(images if len(new) == len(images) else images[list(new.values())])
            answered.update(zip(new, found, strict=True))
        return torch.stack([answered[key] for key in keys])

    def _forwarded(self, images: Tensor) -> Tensor:
        # What an engine was compiled for has one shape.
        return self._fitting(lambda size: _joined(_in_chunks(self._fast, images, size)), by_engine=True)

    def _features(self, images: Tensor) -> Tensor:
        """(n, C, h, w) that the CAM is read off. The answers of the same forward are remembered as `classify`'s are."""
        forward = self._exact.forward_with_features
        passes = self._fitting(lambda size: list(_in_chunks(forward, images, size)))
        if self._answered is not None and self._fast is self._exact:
            logits = torch.cat([made.logits[:n] for made, n in passes])
            self._answered.update(zip(_keys(images), logits, strict=True))
        return torch.cat([made.features[:n] for made, n in passes])

    def check_answers(self, ids: Sequence[str]) -> None:
        """Raise XkdError if `classify` gave logits that are not finite since it was last asked.

        Args:
            ids: of the photographs of which the images were made, for the message.
        """
        finite, self._finite = self._finite, torch.ones_like(self._finite)
        if not finite:
            kind = "" if self._precision == "fp32" else f" in {self._precision}"
            refuse_logits(self.classifier.name, f"images made of those from {ids[0]} to {ids[-1]}{kind}")

    def explain(
        self,
        explainer: Explainer,
        images: Tensor,
        classes: Tensor,
        ids: Sequence[str],
        classifier: Classifier | None = None,
        context: Context | None = None,
    ) -> Tensor:
        """Maps of one class of each image.

        Args:
            explainer: makes them.
            images: (n, 3, H, W) normalised.
            classes: (n,) int64.
            ids: n, which seed what is random.
            classifier: to be explained instead of the network's own.
            context: what is known of the images already; by default nothing but the ids.

        Returns:
            (n, h, w) float32, raw.
        """
        context = context or Context(ids=tuple(ids))
        if explainer.reads_features and context.features is None and classifier is None and self._exact.head:
            with torch.inference_mode():
                context = replace(context, features=self._features(images))
        explained = classifier or self.classifier

        def made(size: int) -> Tensor:
            maps = []
            for start in range(0, len(images), size):
                # Padded by repeating the last image: a fixed shape, and an input that every method can digest.
                places = torch.arange(start, start + size, device=images.device).clamp(max=len(images) - 1)
                found = explainer(explained, images[places], classes[places], _taken(context, places))
                maps.append(found[: len(images) - start])
                self._explained(min(start + size, len(images)), len(images))
            return torch.cat(maps)

        return made(1) if explainer.per_image else self._fitting(made, clean=True)

    def _fitting(self, run: Callable[[int], _T], *, clean: bool = False, by_engine: bool = False) -> _T:
        """What `run` makes with so many images a forward, or with half as many as often as the memory does not suffice.

        It stays so: the rows that follow may differ from those before in the last bits.
        """
        while True:
            size = self.clean_chunk if clean else self.chunk
            try:
                return run(size)
            except Exception as error:  # each library reports it as something else
                if not is_out_of_memory(error) or (by_engine and self.plan.engine != TORCH):
                    raise
                if size == 1:
                    raise XkdError(
                        f"device: {self._finite.device} has not the memory for one image of {self.classifier.name} a "
                        "forward; what is done is kept"
                    ) from error
            self._halve(clean=clean)

    def _keep_within_memory(self) -> None:
        """Plan for fewer images a forward where the device has not the memory for as many."""
        device = self._finite.device
        fitting = within_memory(self.chunk, self.classifier, self.preprocess, device)
        if fitting < self.chunk:
            LOG.warning(
                "%s: %d images a forward and not %d, as %s has %.1f GiB of memory free",
                *(self.classifier.name, fitting, self.chunk, device, free_memory(device) / 2**30),
            )
            self.chunk, self.clean_chunk = fitting, min(fitting, self.clean_chunk)

    def _halve(self, *, clean: bool) -> None:
        if clean:
            former, self.clean_chunk = self.clean_chunk, self.clean_chunk // 2
        else:
            former, self.chunk = self.chunk, self.chunk // 2
        if self._finite.device.type == "cuda":
            torch.cuda.empty_cache()
        LOG.warning(
            "%s: out of memory with %d images a forward; continued with %d",
            *(self.classifier.name, former, former // 2),
        )


def _keys(images: Tensor) -> list[bytes]:
    """What each of (n, 3, H, W) images on a CPU is known again by."""
    return [hashlib.sha256(image.numpy()).digest() for image in images.contiguous()]


def _under(preprocess: Preprocess, classifier: Classifier) -> Classifier:
    """The classifier as it sees images by another convention than its own: what is black, what a photograph was."""
    if classifier.preprocess == preprocess:
        return classifier
    seen = copy.copy(classifier)  # the network itself is shared
    seen.preprocess = preprocess
    return seen


def _in_chunks(forward: Callable[[Tensor], _T], images: Tensor, chunk: int) -> Iterator[tuple[_T, int]]:
    """Feed (n, ...) through `forward` `chunk` at a time, the last one padded; yields the result and its real length."""
    for part in images.split(chunk):
        padding = part.new_zeros((chunk - len(part), *part.shape[1:]))
        yield forward(torch.cat([part, padding]) if len(padding) else part), len(part)


def _joined(passes: Iterator[tuple[Tensor, int]]) -> Tensor:
    return torch.cat([part[:n] for part, n in passes])


def _taken(context: Context, places: Tensor) -> Context:
    return Context(
        ids=tuple(context.ids[place] for place in places.tolist()) if context.ids else None,
        features=None if context.features is None else context.features[places],
        masks=None if context.masks is None else context.masks[places],
        size=context.size,
    )
