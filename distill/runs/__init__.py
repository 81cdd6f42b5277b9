"""Trainings on disk: where they lie, which ones a command stands for, and the processes that make them."""
