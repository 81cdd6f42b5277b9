"""TrainingResult: what a finished training left, for a notebook."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.recipe.schema import Recipe
from distill.runs.layout import STUDENT
from distill.runs.outcome_file import check_student, read_metrics

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
        result: what result.json holds: "last" and "best", the metrics of the last and of the best epoch (name to
            number: each loss, unweighted, and fractions from 0 to 1 such as "test_top1"); "best_on", the images that
            the best is best on, "validation images", "held-out training images" or "test images"; "student", which of
            the two student.pt is; "seed", "epochs", "train_images", "processes", "batch_norm_images"; "notes", what was
            decided where the recipe leaves it open; "origin", the recipe's values and digests of images and teacher;
            digests by which an edited file is noticed.

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
        epoch = self.result[self.result["student"]]
        return {
            "top-1 on the test images": f"{100 * epoch['test_top1']:.1f} %",
            "epoch": f"{epoch['epoch']} of {self.result['epochs']}",
            "seed": str(self.result["seed"]),
        }
