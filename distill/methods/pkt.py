"""PKT: probabilistic knowledge transfer (Passalis & Tefas, ECCV 2018)."""

from __future__ import annotations

from torch import Tensor

from distill.methods.alike import check_alike
from distill.methods.base import Method
from distill.methods.gather import gather_batch
from distill.methods.passes import Pass
from distill.methods.registry import register

_EPSILON = 1e-7


def pkt_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """KL divergence between the distributions over neighbours that cosine similarity gives each image (Passalis &
    Tefas, ECCV 2018).

    Args:
        student, teacher: (B, C_s) and (B, C_t) embeddings.

    Returns:
        Scalar, the mean over the B x B pairs.
    """
    check_alike(student, teacher, dimensions=1)
    p, q = _neighbours(teacher), _neighbours(student)
    return (p * ((p + _EPSILON) / (q + _EPSILON)).log()).mean()


@register
class Pkt(Method):
    """pkt_loss of the embeddings, over the batch of all processes."""

    name = "pkt"
    citation = "Passalis & Tefas, ECCV 2018"
    requires = frozenset({"embedding"})
    takes_mixed = True
    needs_images = 2
    gathers = True

    def losses(self, student: Pass, teacher: Pass, labels: Tensor, indices: Tensor | None) -> dict[str, Tensor]:
        """See Method.forward."""
        return {"pkt": pkt_loss(gather_batch(student.embedding()), gather_batch(teacher.embedding()))}


def _neighbours(embeddings: Tensor) -> Tensor:
    unit = embeddings / (embeddings.norm(dim=1, keepdim=True) + _EPSILON)
    similarity = (unit @ unit.T + 1) / 2
    return similarity / similarity.sum(1, keepdim=True)
