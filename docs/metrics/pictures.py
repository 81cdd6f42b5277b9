"""The pictures of these pages: what each test does to one photograph, by the code that the tests run.

python -m docs.metrics.pictures

EfficientNet-Lite0 with its ImageNet weights (packages of the dev group); the photographs come with scikit-image.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.lite import lite1
from docs.metrics.panels import Bars, Panel, Subject, strip
from xkd_eval import create_explainer
from xkd_eval.classifiers.class_names import imagenet_classes
from xkd_eval.evaluations.complexity.measures import entropy, gini_index
from xkd_eval.evaluations.draws import image_generator
from xkd_eval.evaluations.fidelity.answers import TOP, predictive_kl, top_overlap
from xkd_eval.evaluations.forms import in_form
from xkd_eval.evaluations.irof.segments import segment_ranks, superpixels
from xkd_eval.evaluations.linear_infill import infilled
from xkd_eval.evaluations.localisation.found_boxes import iou_by_level
from xkd_eval.evaluations.randomisation.layers import Layers
from xkd_eval.evaluations.ranks import upsample
from xkd_eval.evaluations.removal import fill_image
from xkd_eval.evaluations.sic.revealing import information, interpolated, starting_pixels
from xkd_eval.explainers.base import Context
from xkd_eval.figures.heatmap import heatmap

HERE = Path(__file__).resolve().parent


def confidence(photo: Subject) -> list[Panel]:
    """The photograph times its map."""
    fake = torch.ones(photo.size)
    fake[0, 0] = 0
    return [
        photo.asked("photograph", photo.images[0]),
        photo.mapped("its map", photo.raw[0]),
        photo.asked("photograph × map", (photo.images * photo.map[:, None])[0]),
        photo.asked("× ones but for a pixel", (photo.images * fake)[0]),
    ]


def insertion_deletion(photo: Subject) -> list[Panel]:
    """Most relevant pixels first."""
    deleted = [
        photo.asked(f"{100 * share:.0f} % deleted", photo.without(share, "mean", photo.ranks)) for share in (0.1, 0.3)
    ]
    inserted = [photo.asked(f"{100 * share:.0f} % inserted", photo.inserted(share)) for share in (0.0, 0.1, 0.3)]
    return [photo.mapped("the map", photo.raw[0]), *deleted, *inserted]


def road(photo: Subject) -> list[Panel]:
    """Half of the pixels gone, black and filled in."""
    half = photo.ranks[0].numel() // 2
    panels = [photo.asked("most relevant half black", photo.without(0.5, "black", photo.ranks))]
    for name, ranks in (("most", photo.ranks), ("least", photo.least_first)):
        panels.append(photo.asked(f"{name} relevant filled in", infilled(photo.images[0], ranks < half)[0]))
    return [photo.mapped("the map", photo.raw[0]), *panels]


def adcc(photo: Subject) -> list[Panel]:
    """The map of what the map leaves."""
    left = photo.images * photo.map[:, None]
    complexity = f"complexity {photo.map.mean().item():.2f}"
    return [
        photo.mapped("the map", photo.raw[0], complexity),
        photo.asked("photograph × map", left[0]),
        photo.mapped("the map of that", photo.explained(left)[0], "coherent where it stays"),
    ]


def pixel_flipping(photo: Subject) -> list[Panel]:
    """Pixels, squares and superpixels."""
    segments = superpixels(photo.pixels[0], 100, 10.0)
    ranks = segment_ranks(photo.map[0], segments, 0)
    gone = torch.from_numpy(segments).long() if not isinstance(segments, Tensor) else segments.long()
    hidden = ranks.reshape(-1)[gone] < 20 if ranks.numel() < gone.numel() else ranks.reshape(gone.shape) < 20
    mean = fill_image(photo.pixels, photo.preprocess, "mean")[0]
    squares = torch.nn.functional.avg_pool2d(photo.map, 16, ceil_mode=True)
    highest = squares >= squares.flatten().topk(30).values[-1]
    large = highest.repeat_interleave(16, 1).repeat_interleave(16, 2)[0, : photo.size[0], : photo.size[1]]
    noise = torch.from_numpy(image_generator("photo", 0).uniform(-1, 1, photo.images.shape[1:])).float()
    return [
        photo.mapped("the map", photo.raw[0]),
        photo.asked("10 % of the pixels", photo.without(0.1, "black", photo.ranks)),
        photo.asked("30 squares, noise", torch.where(large, noise, photo.images[0])),
        photo.asked("20 superpixels, mean", torch.where(hidden, mean, photo.images[0])),
    ]


def sic(photo: Subject) -> list[Panel]:
    """More and more of the photograph is revealed."""
    image = photo.pixels[0].permute(1, 2, 0).numpy()
    start = starting_pixels("photo", photo.size, 0.01, 0)
    panels = []
    for share in (0.0, 0.05, 0.21, 0.5):
        known = start | (photo.ranks[0] < int(share * photo.ranks[0].numel())).numpy()
        shown = interpolated(image, known)
        answer = photo.probability(photo.preprocess.normalise(torch.from_numpy(shown).permute(2, 0, 1)[None])[0])
        panels.append(Panel(f"{100 * share:.0f} % revealed", shown, f"{answer}, {information(shown) / 1000:.0f} kB"))
    return [*panels, photo.asked("photograph", photo.images[0])]


def localisation(photo: Subject) -> list[Panel]:
    """What is above three thresholds, and the box of its largest contour."""
    values = (255 * photo.map[0]).byte().numpy()
    _, boxes = iou_by_level(values, np.array([[0, 0, 223, 223]]), "contour")
    panels = []
    for share in (0.2, 0.4, 0.6):
        level = int(share * 255)
        shown = np.where((values > level)[..., None], photo.pixels[0].permute(1, 2, 0).numpy(), 255)
        x0, y0, x1, y1 = boxes[level].astype(int)
        for edge in (np.s_[y0 : y1 + 1, [x0, x1]], np.s_[[y0, y1], x0 : x1 + 1]):
            shown[edge] = (213, 94, 0)
        panels.append(
            Panel(f"above {100 * share:.0f} % of the peak", shown.astype(np.uint8), f"box {x0}, {y0} to {x1}, {y1}")
        )
    return [photo.mapped("the map", photo.raw[0]), *panels]


def grid_pointing(photo: Subject) -> list[Panel]:
    """Four photographs as one, and the map of each one's class."""
    tiles = [Subject(name) for name in ("chelsea", "coffee", "rocket", "astronaut")]
    rows = [torch.cat([tile.images for tile in tiles[start : start + 2]], 3) for start in (0, 2)]
    grid = torch.cat(rows, 2)
    features = photo.classifier.forward_with_features(grid).features.detach()
    picture = photo.seen(grid[0])
    panels = [Panel("four photographs", picture)]
    for place, tile in enumerate(tiles):
        values = photo.classifier.cams(features, tile.classes[:, None])[0, 0].detach()
        large = upsample(values[None], (448, 448))[0].clamp(min=0)
        inside = large[224 * (place // 2) :, 224 * (place % 2) :][:224, :224].sum() / large.sum().clamp(min=1e-7)
        shown = heatmap(picture, large.numpy(), alpha=0.6).overlay
        panels.append(Panel(f"map of class {place + 1}", shown, f"{100 * inside.item():.0f} % in its tile"))
    return panels


def fidelity(photo: Subject) -> list[Panel | Bars]:
    """What two networks answer to the photograph."""
    reference = Subject(make=lite1)
    theirs, ours = (one.logits[0].softmax(0) for one in (reference, photo))
    names = imagenet_classes(len(theirs))
    assert names is not None
    shown = theirs.topk(TOP).indices.tolist()
    divergence = predictive_kl(reference.logits, photo.logits).item()
    bars = [{names.names[place]: one[place].item() for place in shown} for one in (theirs, ours)]
    overlap = round(TOP * top_overlap(photo.logits, reference.logits).item())
    return [
        photo.asked("photograph", photo.images[0]),
        Bars("reference: its five classes", bars[0]),
        Bars("another model: the same five", bars[1], f"KL {divergence:.2f}, top-5 overlap {overlap}/{TOP}"),
    ]


def randomisation(photo: Subject) -> list[Panel]:
    """The map of the same class while more and more layers are drawn anew, from the head down."""
    private = photo.classifier.private()
    layers = Layers(private.model, "all", "initial", "layer", 0)
    paths = layers.paths[::-1]
    panels, done = [photo.mapped("all learned", photo.raw[0])], 0
    for share in (0.01, 0.1, 0.25, 0.5, 1.0):
        end = max(1, round(share * len(paths)))
        for path in paths[done:end]:
            layers.redraw(path)
        done = end
        made = create_explainer("cam")(private, photo.images, photo.classes, Context(ids=("photo",)))
        panels.append(photo.mapped(f"{end} of {len(paths)} layers redrawn", made[0]))
    layers.restore()
    return panels


def robustness(photo: Subject) -> list[Panel]:
    """Noise too small to be seen, and noise that is not."""
    panels = [photo.mapped("the map", photo.raw[0])]
    for radius in (0.02, 0.2, 1.0):
        noise = torch.from_numpy(image_generator("photo", 0).uniform(-radius, radius, photo.images.shape)).float()
        moved = photo.explained(photo.images + noise)
        change = ((moved - photo.raw).norm() / photo.raw.norm()).item()
        panels.append(photo.asked(f"noise of ±{radius:g}", (photo.images + noise)[0]))
        panels.append(photo.mapped("its map", moved[0], f"moved by {change:.2f}"))
    return panels


def complexity(photo: Subject) -> list[Panel]:
    """Maps from sparse to spread."""
    noise = torch.from_numpy(image_generator("photo", 0).random(photo.size)).float()
    maps = {
        "only the peak": (photo.map[0] > 0.95).float(),
        "ReLU of the map": in_form(photo.raw, "relu", photo.size)[0][0],
        "the map": photo.map[0],
        "noise": noise,
    }
    panels = []
    for title, values in maps.items():
        flat = values.numpy().reshape(1, -1).astype(np.float64)
        figures = f"Gini {gini_index(flat)[0]:.2f}, entropy {entropy(flat)[0]:.2f}"
        panels.append(photo.mapped(title, values, figures))
    return panels


def faithfulness(photo: Subject) -> list[Panel]:
    """Cells removed at random: does the answer lose what the map says that they hold?"""
    generator, panels = image_generator("photo", 0), [photo.mapped("the map", photo.raw[0])]
    for _ in range(4):
        gone = torch.from_numpy(generator.random((9, 9)) < 0.2)
        large = gone.repeat_interleave(25, 0).repeat_interleave(25, 1)[:224, :224]
        held = photo.map[0][large].sum() / photo.map.sum()
        image = photo.images[0].masked_fill(large, 0.0)
        panels.append(Panel(f"{100 * held:.0f} % of the map gone", photo.seen(image), photo.probability(image)))
    return panels


FAMILIES: tuple[Callable[[Subject], Sequence[Panel | Bars]], ...] = (
    confidence,
    insertion_deletion,
    road,
    adcc,
    pixel_flipping,
    sic,
    localisation,
    grid_pointing,
    fidelity,
    randomisation,
    robustness,
    complexity,
    faithfulness,
)


def main() -> None:
    """Draw them all, or those that are named."""
    photo = Subject()
    for family in FAMILIES:
        if not sys.argv[1:] or family.__name__ in sys.argv[1:]:
            strip(family(photo), HERE / f"{family.__name__}.jpg")


if __name__ == "__main__":
    main()
