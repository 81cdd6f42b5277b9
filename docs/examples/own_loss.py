"""A loss of one's own: the student's map of the true class has the shape of the teacher's. Under a minute on two cores.

python own_loss.py [IMAGES]
"""

import sys

from torch.nn import functional as F

import distill
from distill.testing import check_method


@distill.register
class Look(distill.Method):
    name = "look"
    citation = "mine"
    requires = frozenset({"logits", "features"})

    def __init__(self, grid: int = 4) -> None:
        super().__init__()
        self.grid = grid

    def losses(self, student, teacher, labels, indices):
        maps = [network.cams(labels[:, None]) for network in (student, teacher)]  # (B, 1, h, w), of any two sizes
        own, wanted = (F.adaptive_avg_pool2d(each, self.grid).flatten(1) for each in maps)
        return {"look": 1 - F.cosine_similarity(own, wanted).mean()}


check_method("look", grid=2)  # what a training relies on, or an AssertionError that says what is missing

recipe = {
    "data": {"loader": "device", "path": "embedded", "images": int(sys.argv[1]) if len(sys.argv) > 1 else 2500},
    "student": {
        "architecture": "py:mynet:make",
        "preprocess": {"size": [40, 40], "mean": [0.3, 0.3, 0.3], "std": [0.2, 0.2, 0.2]},
    },
    "teacher": {"model": "embedded/teacher"},
    "losses": [{"method": "ce"}, {"method": "look", "weight": 10, "grid": 5}],
    "epochs": 6,
    "batch_size": 32,
    "optimiser": {"name": "adamw", "learning_rate": 0.01, "weight_decay": 0.01},
    "schedule": {"name": "onecycle", "rise": 0.3},
}
result = distill.train(recipe, "runs/own-loss", overwrite=True)
print(result.metrics[["epoch", "ce", "look", "test_top1"]].round(3).to_string(index=False))
