"""xkd-distill export."""

from __future__ import annotations

from distill.cli import options as o

EXAMPLES = """[b]Examples[/b]

xkd-distill export student.pt -o student.onnx

xkd-distill export student.pt -o student.safetensors"""


def export(model: o.Student, output: o.ExportOutput, imports: o.Imports = None) -> None:
    """Write a student in another format, and check that it gives the same logits."""
    from distill.cli.output import print_export
    from distill.recipe.imports import import_all
    from distill.students.export import export as write

    import_all(imports or ())
    print_export(output, write(model, output))
