"""xkd-distill evaluate."""

from __future__ import annotations

from functools import partial

from distill.cli import options as o
from xkd_eval.errors import XkdError

EXAMPLES = """[b]Examples[/b]

xkd-distill evaluate student.pt --data cifar100/

xkd-distill evaluate kd.pt exp_kd.pt --teacher resnet56.pt --data cifar100/ -o scores.json"""


def evaluate(
    models: o.Models,
    data: o.TestData = "embedded",
    teacher: o.Teacher = None,
    weights: o.Weights = None,
    teacher_weights: o.TeacherWeights = None,
    limit: o.Limit = None,
    device: o.Device = "auto",
    workers: o.Workers = 0,
    output: o.ScoresOutput = None,
) -> None:
    """Top-1, top-5, loss, calibration error, and agreement with --teacher."""
    from distill.cli.output import print_scores, write_scores
    from distill.students.measure import measure
    from xkd_eval.cli.output import progress_bar

    if weights and len(weights) != len(models):
        raise XkdError(f"weights: {len(weights)} files for {len(models)} models; give one each, in the same order")
    scores = {}
    for position, model in enumerate(models):
        with progress_bar() as progress:
            scores[model] = measure(
                model,
                data,
                weights=weights[position] if weights else None,
                teacher=teacher,
                teacher_weights=teacher_weights,
                limit=limit,
                device=device,
                workers=workers,
                progress=partial(progress, model),
            )
    print_scores(scores, data)
    if output is not None:
        write_scores(scores, output)
