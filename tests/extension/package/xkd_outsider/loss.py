"""A loss: the student's mean logit follows the teacher's."""

from distill.methods.base import Method


class MeanLogit(Method):
    """Squared difference of the means over the classes."""

    name = "mean_logit"
    citation = "nobody, nowhere"
    requires = frozenset({"logits"})

    def losses(self, student, teacher, labels, indices):
        """One scalar, averaged over the batch."""
        return {"mean_logit": (student.logits.mean(1) - teacher.logits.mean(1)).square().mean()}
