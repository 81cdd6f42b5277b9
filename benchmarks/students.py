"""Students of one teacher: accuracy, perturbation, segmentation, and agreement of their maps with the teacher's.

    python benchmarks/students.py --runs runs
    python benchmarks/students.py --name cifar100_small --students ce kd cat_kd exp_kd --data cifar100 --limit 1000

Mean and standard deviation over the training seeds that lie there. Agreement is Spearman's rank correlation of the maps
of the teacher's class.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from distill.runs.layout import STUDENT, students_in
from distill.runs.tables import mean_and_deviation
from xkd_eval import load_classifier, perturbation_test, segmentation_test
from xkd_eval.assets import EMBEDDED
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.datasets import ImageDataset, limit, open_dataset
from xkd_eval.evaluations.agreement.measures import map_agreement

PERTURBATION = {
    "top-1": "clean_accuracy",
    "positive AUC": "positive.auc",
    "relative": "positive.auc_relative",
    "negative AUC": "negative.auc",
    "relative ": "negative.auc_relative",
}
SEGMENTATION = {
    "pixel accuracy": "pixel_accuracy",
    "mIoU": "miou",
    "pointing game": "pointing_game",
}


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--name", default="quickstart")
    parser.add_argument("--students", nargs="+", default=list(EMBEDDED))
    parser.add_argument("--data", default="embedded")
    parser.add_argument("--limit", type=int, help="a label-stratified sample of so many test images")
    given = parser.parse_args()
    dataset = open_dataset(given.data, split="test")
    dataset = dataset if given.limit is None else limit(dataset, given.limit)
    columns = PERTURBATION | (SEGMENTATION if dataset.has_masks else {})
    teacher = load_classifier(given.runs / given.name / "teacher" / STUDENT)
    classes, expected = _maps(teacher, None, dataset)
    print(f"{len(dataset)} images of {dataset.name}\n")
    print("| student | seeds | " + " | ".join(columns) + " | agreement |")
    print("|---|---:|" + "---:|" * (len(columns) + 1))
    for name in given.students:
        students = students_in(given.runs / given.name / name)
        rows = [_row(load_classifier(path), classes, expected, dataset, columns) for path in students]
        cells = [mean_and_deviation(values, digits=1) for values in np.array(rows).T.tolist()]
        print(f"| {name} | {len(rows)} | " + " | ".join(cells) + " |", flush=True)


def _row(
    student: Classifier, classes: torch.Tensor, expected: torch.Tensor, dataset: ImageDataset, columns: dict[str, str]
) -> list[float]:
    summary = perturbation_test(student, dataset).summary
    if dataset.has_masks:
        summary |= segmentation_test(student, dataset).summary
    _, maps = _maps(student, classes, dataset)
    agreement = map_agreement(maps, expected, student.preprocess.size)["spearman"].mean()
    return [100 * _score(summary, path) for path in columns.values()] + [100 * agreement]


def _score(summary: dict, path: str) -> float:
    for key in path.split("."):
        summary = summary[key]
    return summary["value"]


@torch.inference_mode()
def _maps(
    classifier: Classifier, classes: torch.Tensor | None, dataset: ImageDataset
) -> tuple[torch.Tensor, torch.Tensor]:
    """The classes explained, by default those predicted, and their maps."""
    pixels = [classifier.preprocess.pixels(dataset.load(place).image) for place in range(len(dataset))]
    logits, features = classifier.forward_with_features(classifier.preprocess.normalise(torch.stack(pixels)))
    classes = logits.argmax(1) if classes is None else classes
    return classes, classifier.cams(features, classes[:, None])[:, 0]


if __name__ == "__main__":
    main()
