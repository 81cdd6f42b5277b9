"""Repositories of the Hugging Face hub: timm's and transformers' classifiers, or folders of the same layout."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from xkd_eval.classifiers.conventions import timm_preprocess
from xkd_eval.classifiers.hub.processors import preprocess_of
from xkd_eval.classifiers.hub.reach import WEIGHTS, why_unreachable
from xkd_eval.classifiers.input_source import InputSource
from xkd_eval.classifiers.sources import Network, build_architecture, refuse_arguments
from xkd_eval.classifiers.weights.loading import Weights, load_state_dict, read_weights
from xkd_eval.errors import XkdError
from xkd_eval.foreign import is_there, json_value, reading, reason, short
from xkd_eval.packages import require

_WORDNET = re.compile(r"n\d{8}")
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_UNNAMED = re.compile(r"LABEL_\d+")


def from_timm_repository(name: str, weights: Weights | None, arguments: Mapping[str, Any]) -> Network:
    """`hf-hub:ORG/MODEL`: a network of timm that its `config.json` names, with the weights beside it.

    Raises:
        XkdError: not kept here and not to be had, no repository of timm's layout, or weights that do not fit.
    """
    where = f"model: hf-hub:{name}"
    folder = _folder(name, where)
    config = _config(folder, where)
    architecture = config.get("architecture")
    if not isinstance(architecture, str):
        raise XkdError(f"{where} has a config.json without architecture, which timm's have; is it hf:{name}?")
    described = {name: value for name, value in config.get("pretrained_cfg", config).items() if name != "architecture"}
    taken = {**config.get("model_args", {}), **arguments, "pretrained_cfg": described}
    if isinstance(classes := config.get("num_classes", described.get("num_classes")), int):
        taken.setdefault("num_classes", classes)
    module = build_architecture(f"timm/{architecture}", taken, f"{where}: its architecture")
    given = weights or read_weights(_weight_file(folder, where), "model")
    notes = load_state_dict(module, given.state_dict, given.path, "model" if weights is None else "weights")
    names, ids = _names(config.get("label_names"), config.get("label_descriptions"))
    source = InputSource(f"config.json of hf-hub:{name}", is_assumed=weights is not None)
    return Network(module, timm_preprocess(module), names, ids, (*given.notes, *notes), source)


def from_transformers(name: str, weights: Weights | None, arguments: Mapping[str, Any]) -> Network:
    """`hf:ORG/MODEL`: an image classifier of transformers, its image processor as the input convention.

    Raises:
        XkdError: not kept here and not to be had, no image classifier, no whole one, or one whose images are prepared
            in a way that no Preprocess has.
    """
    where = f"model: hf:{name}"
    refuse_arguments(f"hf:{name}", arguments)
    require(where, "transformers", "transformers")
    from transformers import AutoModelForImageClassification
    from transformers.utils import logging

    folder = _folder(name, where)
    _config(folder, where)
    logging.set_verbosity_error()
    fails = reading(f"{where} is no image classifier that transformers reads", "expected one of its model classes")
    with fails:
        module, told = AutoModelForImageClassification.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, output_loading_info=True
        )
    if missing := sorted(told["missing_keys"]):
        raise XkdError(
            f"{where} holds no whole classifier: {short(missing[0])} is missing; name a repository that was trained to "
            "classify"
        )
    notes: tuple[str, ...] = ()
    if weights is not None:
        notes = (*weights.notes, *load_state_dict(module, weights.state_dict, weights.path))
    names, ids = _names(_labels(module), None)
    source = InputSource(f"the image processor of hf:{name}", is_assumed=weights is not None)
    return Network(module, preprocess_of(folder, where), names, ids, notes, source)


def _labels(module: nn.Module) -> list[str] | None:
    labels: Mapping[int, str] = getattr(module.config, "id2label", None) or {}
    listed = [labels.get(index) for index in range(len(labels))]
    if not all(isinstance(label, str) for label in listed) or all(_UNNAMED.fullmatch(str(label)) for label in listed):
        return None
    return [str(label) for label in listed]


def _names(
    names: Sequence[str] | None, descriptions: Mapping[str, str] | None
) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """Class names and WordNet ids; neither for ImageNet's thousand classes, whose names we have."""
    if not names:
        return None, None
    listed = [str(name) for name in names]
    if all(_WORDNET.fullmatch(name) for name in listed):
        described = descriptions or {}
        return tuple(str(described.get(name, name)).partition(",")[0] for name in listed), tuple(listed)
    return (None, None) if _is_imagenet(listed) else (tuple(listed), None)


def _is_imagenet(names: Sequence[str]) -> bool:
    """Whether most of the names, in their places, are those of ImageNet's classes, whose spelling differs."""
    from xkd_eval.classifiers.class_names import imagenet_classes

    known = imagenet_classes(len(names))
    if known is None or known[0] is None:
        return False
    alike = sum(own.lower() in name.lower() for own, name in zip(known[0], names, strict=True))
    return alike > 0.8 * len(names)


def _config(folder: Path, where: str) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise XkdError(f"{where} has no config.json; expected a repository of a model")
    with reading(f"{where}: its config.json cannot be read", "download it again"):
        config = json_value(path.read_text(encoding="utf-8"))
    if not isinstance(config, dict):
        raise XkdError(f"{where}: its config.json holds {short(config)}; expected an object")
    return config


def _weight_file(folder: Path, where: str) -> Path:
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    raise XkdError(f"{where} has neither {' nor '.join(WEIGHTS)}; expected one of them")


def _folder(name: str, where: str) -> Path:
    """Where a repository's files are: a folder as it is, or what the hub's library keeps, fetched where it is not."""
    if name and is_there(name, Path.is_dir):
        return Path(name)
    repository, _, revision = name.partition("@")
    if not _REPOSITORY.fullmatch(repository):
        raise XkdError(f"{where} is no folder and no repository; expected ORG/MODEL, as the hub has it")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    unreachable = why_unreachable()
    for weight_files in ("*.safetensors", "*.bin"):
        try:
            folder = Path(
                snapshot_download(
                    repository,
                    revision=revision or None,
                    allow_patterns=["*.json", weight_files],
                    local_files_only=bool(unreachable),
                )
            )
        except LocalEntryNotFoundError:
            raise XkdError(
                f"{where} is not kept here, and the hub cannot be reached ({unreachable or 'the connection ended'}); "
                "connect, or say by HF_HOME where it is kept"
            ) from None
        except (HfHubHTTPError, OSError, ValueError) as error:
            raise XkdError(f"{where} cannot be had from the hub ({reason(error)}); expected ORG/MODEL") from None
        if any(folder.glob(weight_files)):
            return folder
    raise XkdError(f"{where} has no weights ({', '.join(sorted(path.name for path in folder.iterdir()))})")
