"""
A loss of your own
==================

A loss is a class with one method. This one asks that the student's map of the true class has the
*shape* of the teacher's, whatever its height: one minus the cosine of the two.
"""

# %%
# Ten lines
# ---------
#
# ``student`` and ``teacher`` are what the two networks made of the same batch. ``requires`` says
# what of it is read, and the decorator makes the name known to recipes.

import tempfile
from pathlib import Path

import torch
from torch.nn import functional as F

import distill
import xkd_eval


@distill.register
class Shape(distill.Method):
    name, citation, requires = "shape", "mine", frozenset({"logits", "features"})

    def losses(self, student, teacher, labels, indices):
        own, wanted = (each.cams(labels[:, None]).flatten(1) for each in (student, teacher))
        return {"shape": 1 - F.cosine_similarity(own, wanted).mean()}


# %%
# One epoch of it
# ---------------
#
# The student starts from one that has learned from labels alone, and sees 400 photographs once. Any
# number of losses stand side by side in a recipe, each with its weight.

plain = xkd_eval.load_classifier("embedded/plain")
folder = Path(tempfile.mkdtemp())
torch.save(plain.model.state_dict(), folder / "plain.pth")

recipe = distill.load_recipe("quickstart/exp_kd").model_dump(mode="json")
recipe |= {"epochs": 1, "teacher": {"model": "embedded/teacher"}}
recipe["data"]["images"] = 400
recipe["student"]["weights"] = str(folder / "plain.pth")
recipe["optimiser"]["learning_rate"] = 0.001
recipe["losses"] = [{"method": "ce"}, {"method": "shape", "weight": 10}]
taught = distill.train(recipe, folder / "shape").student()
taught.name = "plain, then shape"

# %%
# Where it looks now
# ------------------

dataset = xkd_eval.open_dataset("embedded")
photographs = [dataset.load(position).image for position in (12, 33)]
teacher = xkd_eval.load_classifier("embedded/teacher")
xkd_eval.overlay([teacher, taught, plain], photographs)

# %%
# Compare the map in the middle with both others: the teacher's on its left, the student's before
# the loss on its right. Whether it has come nearer to the teacher's over many photographs is
# measured by the test "agreement":

models = {"teacher": teacher, "plain, then shape": taught, "plain": plain}
study = xkd_eval.evaluate(models, tests="agreement", limit=60)
scores = study.scores.query("score == 'cosine'")
scores[["model", "value", "low", "high"]].round(3)

# %%
# The mean has risen, and the two intervals overlap: one short epoch shows the direction, and is no
# proof. Even a clear rise would show that the loss does what it says, and not that the student
# explains itself better. That is another question, and
# :ref:`sphx_glr_gallery_measure_plot_comparison.py` asks it.
