"""Importing this makes every group known."""

from attacks import arguments, names, pictures, recipes, runs, sets, trainings, weights

__all__ = ["arguments", "names", "pictures", "recipes", "runs", "sets", "trainings", "weights"]
