"""
An explainer of your own
========================

An explainer turns photographs and classes into maps. This one asks no class at all: it shows how
strongly the last feature map responds. It is a useful rival, because a method that explains a
*class* should beat it.
"""

# %%
# A frozen dataclass whose fields are its options. It is called with normalised photographs (B, 3,
# H, W) and classes (B,), and returns raw maps (B, h, w) of any size.

from dataclasses import dataclass

import xkd_eval


@xkd_eval.register_explainer
@dataclass(frozen=True)
class Activation(xkd_eval.Explainer):
    name = "activation"
    citation = "mine"
    cost = "1 F"
    power: float = 2.0

    def __call__(self, classifier, images, classes, context=None):
        return classifier.forward_with_features(images).features.abs().pow(self.power).mean(1)


# %%
# From now on its name goes wherever an explainer is named, with its options behind it.

teacher = xkd_eval.load_classifier("embedded/teacher")
dataset = xkd_eval.open_dataset("embedded")
photographs = [dataset.load(position).image for position in (12, 21)]
xkd_eval.overlay(teacher, photographs, explainer=["cam", "activation:power=2"])

# %%
# On these photographs the two look alike, so let a test decide:

explainers = ["cam", "activation", "random"]
options = {"tests": "perturbation", "limit": 40, "fractions": [0.1, 0.3, 0.5, 0.7]}
study = xkd_eval.evaluate(teacher, explainers=explainers, **options)
study.scores.query("score == 'between.auc'")[["maps", "value", "low", "high"]].round(3)

# %%
# How strongly features respond says a lot about where the object is, since there is one object in
# each of these photographs. Do not expect that where several objects share a photograph: this map
# has no way to tell which of them is asked for.
#
# ``xkd_eval.testing.check_explainer`` runs the package's contract tests on an explainer of yours.
