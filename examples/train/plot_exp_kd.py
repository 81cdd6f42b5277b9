"""
Teach a student its teacher's maps
==================================

Exp-KD adds one term to the usual loss: the student's class activation maps shall be the teacher's.
This example teaches it to a student that can already read, which takes seconds, and shows what a
training leaves behind.
"""

# %%
# A recipe is a name, a file or a dict. This one is a copy of the package's own, made short: 300
# photographs, four times, for a student that starts from weights which were trained on labels
# alone. The teacher comes with the package.

import tempfile
from pathlib import Path

import torch

import distill
import xkd_eval

folder = Path(tempfile.mkdtemp())
plain = xkd_eval.load_classifier("embedded/plain")
torch.save(plain.model.state_dict(), folder / "plain.pth")

recipe = distill.load_recipe("quickstart/exp_kd").model_dump(mode="json")
recipe |= {"epochs": 4, "teacher": {"model": "embedded/teacher"}}
recipe["data"]["images"] = 300
recipe["student"]["weights"] = str(folder / "plain.pth")
recipe["optimiser"]["learning_rate"] = 0.001

result = distill.train(recipe, folder / "exp_kd")
result.plot()

# %%
# Left, the two losses before they are weighted: the cross-entropy with the labels, and the distance
# between the maps. Their heights cannot be compared with one another, only each with itself. Right,
# the accuracy on 500 test photographs.
#
# Every line of the curve is in a table as well:

result.metrics[["epoch", "ce", "exp_kd", "test_top1", "test_agreement"]].round(5)

# %%
# The maps approach the teacher's. Do not conclude from four short epochs on 300 photographs what
# Exp-KD does for the accuracy: one run of one seed says little, and the training photographs are
# soon known by heart. The full training, from random weights, is ``xkd-distill train quickstart``.
#
# The student is a classifier like any other:

result.student()
