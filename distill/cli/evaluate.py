"""xkd-distill evaluate."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import count

from distill.cli import options as o
from xkd_eval.errors import XkdError
from xkd_eval.files import check_output

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
    imports: o.Imports = None,
    output: o.ScoresOutput = None,
) -> None:
    """Top-1, top-5, loss, calibration error, and agreement with --teacher."""
    from distill.cli.output import print_scores, write_scores
    from distill.recipe.imports import import_all
    from distill.students.measure import measure
    from xkd_eval.cli.output import progress_bar

    if weights and len(weights) != len(models):
        raise XkdError(f"weights: {len(weights)} files for {len(models)} models; give one each, in the same order")
    if output is not None:
        given = (*models, *(weights or ()), data, teacher, teacher_weights)
        check_output(output, [source for source in given if source is not None])
    import_all(imports or ())
    scores = {}
    for position, (name, model) in enumerate(zip(_names(models), models, strict=True)):
        with progress_bar() as progress:
            scores[name] = measure(
                model,
                data,
                weights=weights[position] if weights else None,
                teacher=teacher,
                teacher_weights=teacher_weights,
                limit=limit,
                device=device,
                workers=workers,
                progress=partial(progress, name),
            )
    print_scores(scores, data)
    if output is not None:
        write_scores(scores, output)


def _names(models: Sequence[str]) -> list[str]:
    """What rows are called: a model that is given again, as with other weights, "NAME #2", as in xkd-eval's tables."""
    names: list[str] = []
    for model in models:
        others = (f"{model} #{number}" for number in count(2))
        names.append(model if model not in names else next(name for name in others if name not in names))
    return names
