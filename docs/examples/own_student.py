"""A student of one's own, mynet.py: trained by a recipe, and asked where it looks. Under a minute on two cores.

python own_student.py [IMAGES]
"""

import sys

import distill
import xkd_eval

recipe = {
    "data": {"loader": "device", "path": "embedded", "images": int(sys.argv[1]) if len(sys.argv) > 1 else 2500},
    "student": {
        "architecture": "py:mynet:make",  # num_classes is given to it
        "arguments": {"width": 16},
        "preprocess": {"size": [40, 40], "mean": [0.3, 0.3, 0.3], "std": [0.2, 0.2, 0.2]},
    },
    "teacher": {"model": "embedded/teacher"},
    "losses": [{"method": "ce"}, {"method": "kd", "weight": 0.5}, {"method": "exp_kd", "weight": 20_000}],
    "epochs": 6,
    "batch_size": 32,
    "optimiser": {"name": "adamw", "learning_rate": 0.01, "weight_decay": 0.01},
    "schedule": {"name": "onecycle", "rise": 0.3},
}
result = distill.train(recipe, "runs/own-student", overwrite=True)

student = xkd_eval.load_classifier(result.path)  # wherever mynet can be imported
print(student)
models = {"teacher": "embedded/teacher", "student": student}
study = xkd_eval.evaluate(models, "embedded", tests=["segmentation", "agreement"], limit=100)
told = study.scores.query("maps == 'cam' and score in ['pointing_game', 'spearman']")
print(told[["model", "test", "score", "value"]].round(3).to_string(index=False))
