"""What a teacher is shown of each image in a round of a fixed list, as plain values by which it is known again."""

from __future__ import annotations

from importlib.metadata import version

from pydantic import JsonValue

from distill.data.views import Views
from distill.recipe.data import DeviceData, WorkerData
from xkd_eval.classifiers.preprocess import Preprocess


def shown(data: DeviceData | WorkerData, views: Views, teacher: int) -> dict[str, JsonValue]:
    """All that shapes the pixels that a teacher sees of an image, beside the image and the round.

    Args:
        data: of the recipe.
        views: of the student and all of its teachers.
        teacher: number of the teacher among these.
    """
    student, view = views.geometries[0], views.geometries[views.teachers[teacher]]
    values: dict[str, JsonValue] = {
        "loader": data.loader,
        "flip": data.flip,
        "size": list(view.size),
        "interpolation": view.interpolation,
        **(_padded(data, view) if isinstance(data, DeviceData) else {"scale": list(data.scale)}),
        **{key: data.model_dump(mode="json")[key] for key in data.image_by_image},
    }
    if isinstance(data, WorkerData) and data.scaled_decoding:
        values["scaled_decoding"] = [list(student.size), list(view.size)]  # the larger of which decides
    if data.erasing is not None or (isinstance(data, DeviceData) and data.padding):
        values["student_size"] = list(student.size)  # in whose pixels it is drawn
    if data.erasing is not None or data.randaugment is not None:
        values["fill"] = [round(255 * value) for value in view.mean_colour]
    if data.image_by_image or isinstance(data, WorkerData):
        values["torchvision"] = version("torchvision")  # by whose code it is drawn
    return values


def _padded(data: DeviceData, view: Preprocess) -> dict[str, JsonValue]:
    cut: dict[str, JsonValue] = {"crop_fraction": view.crop_fraction} if view.resize == "crop" else {}
    return {"padding": data.padding, "resize": view.resize, **cut}
