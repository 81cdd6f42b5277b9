"""The images of a split by the recipe's loader: on the device, or through worker processes."""

from __future__ import annotations

import torch

from distill.data.batches import EpochSteps, HeldOutImages, ProcessRank
from distill.data.photographs import HeldOutPhotographs, TrainingPhotographs
from distill.data.resident import ResidentHeldOut, ResidentTraining
from distill.data.splits import Labelled
from distill.data.views import Views
from distill.recipe.data import WorkerData
from distill.recipe.schema import Recipe
from xkd_eval.classifiers.preprocess import Preprocess


def training_images(
    recipe: Recipe,
    labelled: Labelled,
    views: Views,
    device: torch.device,
    rank: ProcessRank,
) -> ResidentTraining | TrainingPhotographs:
    """The training split, augmented, at the size of each network.

    Args:
        recipe: loader, batch size, seed and augmentation.
        labelled: the split.
        views: of the student and of the teachers that look at the images, in the order of a batch's `others`.
        device: of the training.
        rank: this process's.
    """
    parts, data = rank.processes * recipe.accumulate, recipe.data
    steps = EpochSteps(len(labelled.labels), recipe.batch_size, parts, drop_last=data.drop_last)
    if isinstance(data, WorkerData):
        return TrainingPhotographs(labelled, views, device, rank, steps, recipe, data)
    return ResidentTraining(labelled, views, device, rank, steps, recipe, data)


def held_out_images(
    recipe: Recipe, labelled: Labelled, preprocess: Preprocess, device: torch.device, rank: ProcessRank
) -> HeldOutImages:
    """A split that is not trained on, at one network's size; arguments as for `training_images`."""
    if isinstance(recipe.data, WorkerData):
        return HeldOutPhotographs(labelled, preprocess, device, rank, recipe.data.workers)
    return ResidentHeldOut(labelled, preprocess, device, rank)
