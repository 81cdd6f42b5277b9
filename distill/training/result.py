"""TrainingResult: what a finished training left, for a notebook."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.recipe.schema import Recipe
from distill.runs.layout import STUDENT
from distill.runs.outcome_file import check_student, read_metrics, test_score

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from xkd_eval.classifiers.classifier import Classifier


@dataclass(frozen=True, repr=False)
class TrainingResult:
    """A finished training.

    Attributes:
        directory: with all that it left; docs/distillation.md lists the files.
        recipe: as it was resolved.
        result: what result.json holds, by name:

            - "last", "best": of the last and of the best epoch: each loss by name, unweighted, and "total", their
              weighted sum; scores, fractions of 1 ("test_top1", "test_agreement" with the teacher, "val_top1", ...)
              or nats ("test_loss"), with `ema_decay` those of the average and those of the trained weights
              ("test_top1_trained"); an epoch that validation images chose has test scores of one of the two, which
              student.pt holds; "epoch", "learning_rate", "seconds".
            - "student": which of the two student.pt is.
            - "best_on": the images that the best is best on, "validation images", "held-out training images" or
              "test images".
            - "average": with `ema_decay` the weights that are "saved" and those that are "better" on the images that
              select, "average" or "trained"; else None.
            - "teachers": the scores of each on the same images, by its name, {"teacher": {"test_top1": ..., ...}}; {}
              without one.
            - "seed", "epochs" (as many as were made), "train_images", "processes", "batch_norm_images" (over which a
              batch norm averages).
            - "seconds": that the epochs' steps took, evaluation apart; "images_per_second": in them.
            - "parameters", "macs": of the student; multiply-accumulates an image, None where they cannot be counted.
            - "peak_memory": bytes, of tensors on an accelerator, else of the whole process since it started.
            - "device", "versions": that it was trained on, and of the software by name.
            - "notes": what was decided where the recipe leaves it open, a sentence each.
            - "origin": the recipe's values, and digests of images, teachers and starting weights.
            - "recipe", "metrics", "weights", "digest": SHA-256 of three files and of all else, by which an edited one
              is noticed.

    Example:
        >>> import distill
        >>> short = ["data.images=96", "epochs=2", "student.preprocess.size=[16, 16]"]
        >>> result = distill.train("quickstart/plain", "runs/two-epochs", overrides=short, device="cpu")
        >>> result.metrics.columns[:3].tolist()
        ['epoch', 'learning_rate', 'total']
        >>> figure = result.plot()
    """

    directory: Path
    recipe: Recipe
    result: dict[str, Any]

    @property
    def path(self) -> Path:
        """The student's checkpoint, which `load_classifier` and every command take."""
        return self.directory / STUDENT

    @property
    def metrics(self) -> pd.DataFrame:
        """A line an epoch: "epoch", "learning_rate", each loss by name, scores of the images that select, "seconds".

        Raises:
            XkdError: metrics.csv is gone, or is not what the training wrote.
        """
        from io import BytesIO

        import pandas as pd

        return pd.read_csv(BytesIO(read_metrics(self.directory, self.result)))

    def student(self) -> Classifier:
        """The trained classifier, frozen, on the CPU.

        Raises:
            XkdError: its checkpoint is gone, or is not what the training wrote.
        """
        from xkd_eval.classifiers.loading import load_classifier

        check_student(self.directory, self.result)
        return load_classifier(self.path)

    def plot(self) -> Figure:
        """The learning curve: each loss, and the accuracy on the images that select the epoch, over epochs."""
        from distill.training.curve import learning_curve

        return learning_curve(self.metrics)

    def __repr__(self) -> str:
        scores = ", ".join(f"{name} {text}" for name, text in self._scores().items())
        return f"TrainingResult({str(self.directory)!r}: {scores})"

    def _repr_html_(self) -> str:
        told = {"architecture": self.recipe.student.architecture, **self._scores(), "student": str(self.path)}
        cells = "".join(f"<tr><td>{escape(name)}</td><td>{escape(text)}</td></tr>" for name, text in told.items())
        return f"<table><caption>TrainingResult</caption>{cells}</table>"

    def _scores(self) -> dict[str, str]:
        which = self.result["student"]
        top1 = test_score(self.result, which, "top1")
        assert top1 is not None
        return {
            "top-1 on the test images": f"{100 * top1:.1f} %",
            "epoch": f"{self.result[which]['epoch']} of {self.result['epochs']}",
            "seed": str(self.result["seed"]),
        }
