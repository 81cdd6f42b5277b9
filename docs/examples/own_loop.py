"""A teacher's logits and class activation maps, distilled in a plain loop. Half a minute on two cores.

python own_loop.py [IMAGES]
"""

import sys

import mynet
import torch
from torch.nn import functional as F

import distill
from distill.losses import kd_loss
from xkd_eval.datasets.embedded import EmbeddedDataset

torch.manual_seed(0)
network = mynet.make(num_classes=10)
student = distill.observe(network, size=40, mean=0.3, std=0.2)  # runs `network` itself, and returns a Pass
teacher = distill.observe("embedded/teacher")

n_images = int(sys.argv[1]) if len(sys.argv) > 1 else 2500
pixels, _, labels = map(torch.from_numpy, EmbeddedDataset("train", n_images).arrays())
pixels = F.interpolate(pixels.permute(0, 3, 1, 2) / 255, size=40, mode="area")
images = student.classifier.preprocess.normalise(pixels)  # the teacher's convention, too
batches = list(zip(images.split(32), labels.split(32), strict=True))
with torch.no_grad():  # once, since nothing here augments the images
    answers = [teacher(images) for images, _ in batches]

exp_kd = distill.create_method("exp_kd")
optimiser = torch.optim.AdamW(network.parameters())
schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=0.01, total_steps=6 * len(batches))
for epoch in range(6):
    for number in torch.randperm(len(batches)).tolist():
        images, true = batches[number]
        own, wanted = student(images), answers[number]
        loss = F.cross_entropy(own.logits, true) + 0.5 * kd_loss(own.logits, wanted.logits, temperature=4)
        loss = loss + 20_000 * exp_kd(own, wanted, true)["exp_kd"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    print(f"epoch {epoch + 1}: loss {loss:.2f}")

found = distill.evaluate({"student": student.classifier}, "embedded", teacher="embedded/teacher")
print(found.table[["model", "top1", "agreement", "parameters"]].to_string(index=False))
