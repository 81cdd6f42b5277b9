"""Files of labels and class maps: text without any checksum."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import numpy as np
from scipy.io import savemat

from attacks.group import BytesGroup, group
from attacks.mutants import Files
from attacks.outcome import Found
from attacks.pictures import CLASSES, classifier_of, found_in
from xkd_eval import open_dataset
from xkd_eval.classifiers.class_names import read_class_map
from xkd_eval.datasets import resolve_labels

_IDS = tuple(f"n{number:08d}" for number in (1440764, 1443537, 1484850, 1491361, 1494475))
_STEMS = [f"ILSVRC2012_val_{number:08d}" for number in range(1, 6)]


@group
class Labels(BytesGroup):
    """Five photographs, of which only the names are read, and a file of their labels, named or looked for."""

    name, about = (
        "labels",
        "Kaggle's csv, the devkit's text and meta.mat, NAME,class lists, also as .gz, named and looked for",
    )
    rarely = frozenset(f"val/{stem}.JPEG" for stem in _STEMS)

    def cases(self, folder: Path) -> dict[str, Files]:
        photographs = {f"val/{stem}.JPEG": b"photograph" for stem in _STEMS}
        kaggle = ["ImageId,PredictionString", *(f"{s},{w} 1 2 3 4" for s, w in zip(_STEMS, _IDS, strict=True))]
        names = [f"{stem}.JPEG,{name}" for stem, name in zip(_STEMS, CLASSES[:5], strict=True)]
        meta = io.BytesIO()
        synsets = np.array([(k, w) for k, w in enumerate(_IDS, 1)], dtype=[("ILSVRC2012_ID", "O"), ("WNID", "O")])
        savemat(meta, {"synsets": synsets.reshape(-1, 1)})
        lists = {
            "kaggle": {"LOC_val_solution.csv": _lines(kaggle)},
            "devkit": {
                "ILSVRC2012_validation_ground_truth.txt": _lines(["3", "1", "5", "2", "4"]),
                "meta.mat": meta.getvalue(),
            },
            "list-named": {"labels.csv": _lines(["image,class", *names])},
            "list-found": {"val/labels.txt": _lines([line.replace(",", " ") for line in names])},
            "tsv": {"labels.tsv": _lines([f"{stem}\t{k}" for k, stem in enumerate(_STEMS)])},
            "packed": {"labels.txt.gz": gzip.compress(_lines(names), mtime=0)},
        }
        return {case: {**photographs, **files} for case, files in lists.items()}

    def found(self, case: str, folder: Path) -> Found:
        named = {"list-named": "labels.csv", "tsv": "labels.tsv", "packed": "labels.txt.gz"}.get(case)
        dataset = open_dataset(folder / "val", labels=None if named is None else folder / named)
        classifier = classifier_of((), _IDS) if case in ("kaggle", "devkit", "tsv") else classifier_of(CLASSES[:5])
        return found_in(dataset, classifier, decode=False)


@group
class ClassMaps(BytesGroup):
    """What a user says of classes, applied to five labels."""

    name, about = "class-maps", "class maps: CSV with and without a header, tabs, JSON as objects and lists"
    rarely = frozenset(f"{name}/a.jpg" for name in CLASSES[:3])

    def cases(self, folder: Path) -> dict[str, Files]:
        indices = {name: (k * 3) % 5 for k, name in enumerate(CLASSES[:5])}
        maps = {
            "csv": {"map.csv": _lines(["id,index,name", *(f"n{k:08d},{k},{name}" for name, k in indices.items())])},
            "tsv": {"map.txt": _lines([f"{name}\t{k}" for name, k in indices.items()])},
            "json-ids": {"map.json": json.dumps(indices).encode()},
            "json-indices": {"map.json": json.dumps({str(k): [f"n{k}", name] for name, k in indices.items()}).encode()},
            "json-list": {"map.json": json.dumps(CLASSES[:5]).encode()},
        }
        photographs = {f"{name}/a.jpg": b"photograph" for name in CLASSES[:3]}
        return {case: {**photographs, **files} for case, files in maps.items()}

    def found(self, case: str, folder: Path) -> Found:
        path = next(iter(sorted(folder.glob("map.*"))), folder / "map.csv")
        dataset = open_dataset(folder)
        resolved = resolve_labels(dataset, classifier_of(CLASSES[:5]), read_class_map(path))
        return Found({"class indices": resolved}, {"": (dataset.digest(), resolved)})


def _lines(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()
