"""Where a model's name leads: the libraries' model zoos, the project's architectures, checkpoints, functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from xkd_eval.assets import EMBEDDED, embedded_classifier_path
from xkd_eval.classifiers.checkpoint import Checkpoint, is_checkpoint, parsed_checkpoint
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.conventions import (
    DEFAULT,
    cifar_input,
    timm_preprocess,
    timm_source,
    torchvision_preprocess,
)
from xkd_eval.classifiers.copies import unwrapped
from xkd_eval.classifiers.hub.reach import kept_weights, why_unreachable
from xkd_eval.classifiers.input_source import InputSource
from xkd_eval.classifiers.overrides import with_overrides
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.classifiers.told import parts_untold
from xkd_eval.classifiers.weights.files import check_weight_file, read_weight_file
from xkd_eval.classifiers.weights.loading import Weights, check_match, load_match, load_state_dict
from xkd_eval.classifiers.weights.matching import Layout, matched
from xkd_eval.classifiers.weights.positions import resized_positions
from xkd_eval.classifiers.weights.tensors import loadable_tensors
from xkd_eval.errors import XkdError
from xkd_eval.foreign import reading, short
from xkd_eval.registry import check_taken, described, imported, missing_arguments, near

_AUX = frozenset(("aux1", "aux2", "AuxLogits"))  # of GoogLeNet and Inception v3


@dataclass(frozen=True)
class Network:
    """A module with its weights in it, and what its source says about it.

    Attributes:
        module: the network.
        preprocess: its input convention.
        class_names, wordnet_ids: K of them, or None.
        notes: what a user must know about how it was read, a sentence each.
        input_from: who says `preprocess`.
    """

    module: nn.Module
    preprocess: Preprocess
    class_names: tuple[str, ...] | None = None
    wordnet_ids: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    input_from: InputSource = DEFAULT


def from_timm(name: str, weights: Weights | None, arguments: Mapping[str, Any]) -> Network:
    """`timm/NAME`, with its pretrained weights where none are given."""
    import timm

    _refuse_loaders_own(f"timm/{name}", arguments, "pretrained")
    architecture = name.partition(".")[0]
    if not timm.is_model(architecture):
        raise unknown_name("timm", name, timm.list_models())
    try:
        config = timm.get_pretrained_cfg(name, allow_unregistered=False)
    except RuntimeError:
        tagged = timm.list_pretrained(f"{architecture}.*")
        raise unknown_name("timm", name, tagged or [architecture]) from None
    notes: tuple[str, ...] = ()
    if weights is None:
        if config is None or not config.has_weights or not config.num_classes:
            raise XkdError(
                f"model: timm/{name} has no pretrained classifier to download; {_weights_behind(f'timm/{name}')}"
            )
        module = _download(f"timm/{name}", partial(_published_by_timm, name, config.hf_hub_id, arguments))
    else:
        create = partial(build_architecture, f"timm/{name}", source="model: the architecture")
        module, notes = _with_weights(create, weights, arguments)
    preprocess, source = timm_preprocess(module), timm_source(module, foreign=weights is not None)
    if "img_size" in arguments:  # timm's own description stays that of the published weights
        preprocess = with_overrides(preprocess, {"size": arguments["img_size"]})
        source = source.but("img_size", ["size"])
    return Network(module, preprocess, notes=notes, input_from=source)


def from_torchvision(name: str, weights: Weights | None, arguments: Mapping[str, Any]) -> Network:
    """`torchvision/NAME`, with its default weights where none are given."""
    from torchvision import models

    _refuse_loaders_own(f"torchvision/{name}", arguments, "weights")
    known = models.list_models(module=models)
    if name not in known:
        raise unknown_name("torchvision", name, known)
    default = models.get_model_weights(name).DEFAULT
    notes: tuple[str, ...] = ()
    if weights is None:
        module = _download(f"torchvision/{name}", lambda: models.get_model(name, weights=default, **arguments))
        # torchvision trusts what an earlier run left in its cache.
        check_weight_file(Path(torch.hub.get_dir(), "checkpoints", Path(default.url).name), "model")
    else:
        options = {**_inception_options(name, weights.state_dict), **arguments}
        create = partial(build_architecture, f"torchvision/{name}", source="model: the architecture")
        module, notes = _with_weights(create, weights, options)
    source = InputSource(f"torchvision's transforms of {name}", is_assumed=weights is not None)
    return Network(module, torchvision_preprocess(default.transforms()), notes=notes, input_from=source)


def from_project(name: str, weights: Weights | None, arguments: Mapping[str, Any]) -> Network:
    """`xkd/NAME`, a CIFAR architecture, which has no weights of its own."""
    from xkd_eval.classifiers import architectures

    if name not in architectures.names():
        raise unknown_name("xkd", name, architectures.names())
    if weights is None:
        raise XkdError(
            f"model: xkd/{name} is an architecture without weights of its own; {_weights_behind(f'xkd/{name}')}"
        )
    where = f"weights: {weights.path!r}"
    layouts = architectures.layouts_of(name, arguments)
    found = matched(layouts, weights.state_dict, where, any_head=True)
    if found.layout is None:
        architectures.refuse_unknown_names(f"xkd/{name}", layouts, weights.state_dict, where)
    options = {**architectures.arguments_for_state_dict(name, found.tensors, num_classes=2), **arguments}
    # Before a network is made of the file's sizes: it has no more numbers than the file.
    check_match(architectures.shapes_of(name, options), found, f"{where} does not fit xkd/{name}")
    module = architectures.build(name, **options)
    load_match(module, found, weights.path)
    preprocess, source = cifar_input(options["num_classes"])
    return Network(module, preprocess, notes=(*weights.notes, *found.notes), input_from=source)


def from_embedded(name: str, weights: Weights | None, arguments: Mapping[str, Any]) -> Network:
    """`embedded/NAME`, a classifier of the embedded data set that ships."""
    refuse_arguments(f"embedded/{name}", arguments)
    if name not in EMBEDDED:
        raise unknown_name("embedded", name, EMBEDDED)
    return from_checkpoint(embedded_classifier_path(name), weights)


def from_checkpoint(path: Path, weights: Weights | None) -> Network:
    """A student.pt; other weights for its architecture where they are given."""
    from xkd_eval.classifiers import architectures

    content = read_weight_file(path, "model")
    if not is_checkpoint(content):
        raise XkdError(
            f"model: {str(path)!r} holds weights without their architecture; "
            f"name that, timm/NAME, torchvision/NAME or xkd/NAME (CIFAR), and the file behind it: NAME,weights={path}"
        )
    checkpoint = parsed_checkpoint(content, path)
    _check_sizes(checkpoint, path)
    module = build_architecture(checkpoint.architecture, checkpoint.arguments, "model: the checkpoint's architecture")
    if weights is None:
        own = loadable_tensors(checkpoint.state_dict, f"model: {str(path)!r}")
        notes = load_state_dict(module, own, str(path), "model")
    else:
        layouts = architectures.layouts(checkpoint.architecture, module.state_dict())
        notes = (*weights.notes, *load_state_dict(module, weights.state_dict, weights.path, layouts=layouts))
    source = InputSource("checkpoint")
    return Network(module, checkpoint.preprocess, checkpoint.class_names, checkpoint.wordnet_ids, notes, source)


def from_function(reference: str, weights: Weights | None, arguments: Mapping[str, Any]) -> Network | Classifier:
    """`py:package.module:function`; the function takes the arguments and returns an nn.Module or a Classifier."""
    made = _call(reference, arguments)
    if not isinstance(made, nn.Module):
        raise XkdError(f"model: py:{reference} returned a {type(made).__name__}; expected an nn.Module or Classifier")
    made = unwrapped(made).float()
    notes: tuple[str, ...] = ()
    if weights is not None:
        inner = made.model if isinstance(made, Classifier) else made
        notes = (*weights.notes, *load_state_dict(inner, weights.state_dict, weights.path))
    if isinstance(made, Classifier):
        made.notes += notes
        return made.eval().requires_grad_(False)
    source = timm_source(made, foreign=weights is not None)
    return Network(made, timm_preprocess(made), notes=notes, input_from=source)


def pretrained(architecture: str, arguments: Mapping[str, Any]) -> Network:
    """An architecture as Checkpoint names it, with the weights that its library publishes.

    Raises:
        XkdError: it has none, or they cannot be downloaded.
    """
    library, _, name = architecture.partition("/")
    if library not in ("timm", "torchvision") or not name:
        raise XkdError(
            f"model: {architecture} has no published weights; expected timm/NAME or torchvision/NAME, or give a file"
        )
    return (from_timm if library == "timm" else from_torchvision)(name, None, arguments)


def refuse_arguments(model: str, arguments: Mapping[str, Any]) -> None:
    """Raise XkdError where there are arguments for what was made already."""
    if arguments:
        raise XkdError(
            f"arguments: {', '.join(arguments)} found, and {model} says its own; leave them out, or name an "
            "architecture with weights"
        )


def _refuse_loaders_own(model: str, arguments: Mapping[str, Any], name: str) -> None:
    """Raise XkdError for the argument by which a library is told to load weights."""
    if name in arguments:
        raise XkdError(
            f"arguments: {name} found, which says whether {model} is loaded with weights; {_weights_behind(model)}"
        )


def _weights_behind(model: str) -> str:
    """What to do where there are no weights, in words that hold wherever a model is named."""
    return f"name a file of them: {model},weights=FILE"


def unknown_name(library: str, name: str, known: Iterable[str]) -> XkdError:
    """The error for a name that a library does not have, with the nearest that it has."""
    known = list(known)
    listed = ", ".join(f"{library}/{other}" for other in near(name, known) or known[:3])
    return XkdError(f"model: {library} has no {short(name)}; nearest: {listed}")


def _check_sizes(checkpoint: Checkpoint, path: Path) -> None:
    """Before a network is made for them: no size within it is larger than all of its tensors together."""
    stored = sum(tensor.numel() for tensor in checkpoint.state_dict.values())
    for size in _whole_numbers(checkpoint.arguments):
        if size > stored:
            raise XkdError(
                f"model: {str(path)!r} asks for a network with {short(size)} of something, and holds {stored} numbers; "
                "save it again"
            )


def _whole_numbers(value: Any) -> Iterator[int]:
    if isinstance(value, int):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _whole_numbers(item)


def _published_by_timm(name: str, repository: str | None, arguments: Mapping[str, Any]) -> nn.Module:
    """With the weights that are kept here, or else those of the hub, of which is asked first whether it answers."""
    import timm

    kept = kept_weights(repository) if repository else None
    if repository and kept is None and (why := why_unreachable()):
        raise ConnectionError(why)
    overlay = None if kept is None else {"file": str(kept)}
    return timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, **arguments)


def _download(model: str, create: Callable[[], nn.Module]) -> nn.Module:
    with reading(f"model: the pretrained weights of {model} cannot be downloaded", _weights_behind(model)):
        return create()


def _with_weights(
    create: Callable[..., nn.Module], weights: Weights, arguments: Mapping[str, Any]
) -> tuple[nn.Module, tuple[str, ...]]:
    """The architecture with as many classes as the weights have, filled with them; and what is to be said of it."""
    given = arguments.get("num_classes")
    where = f"weights: {weights.path!r}"
    module = create(arguments=arguments)
    own = module.state_dict()
    found = matched([Layout(own)], weights.state_dict, where, any_head=True)
    num_classes = _count_classes(own, found.tensors)
    if num_classes is not None and num_classes > 0:
        if given is not None:
            raise XkdError(
                f"arguments: num_classes={short(given)} found beside weights of {num_classes} classes; leave it out"
            )
        module = create(arguments={**arguments, "num_classes": num_classes})
    tensors = resized_positions(module, found.tensors, where) if found.layout else found.tensors
    load_match(module, replace(found, tensors=tensors), weights.path)
    return module, (*weights.notes, *found.notes)


def _count_classes(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> int | None:
    """The rows in which the file's heads differ from those of the library; None where they do not, or not alike."""
    differing = {
        (tensor.shape[0], given[name].shape[0])
        for name, tensor in own.items()
        if name in given
        and tensor.ndim > 0
        and given[name].ndim == tensor.ndim
        and given[name].shape[1:] == tensor.shape[1:]
        and given[name].shape[0] != tensor.shape[0]
    }
    return next(iter(differing))[1] if len(differing) == 1 else None


def _inception_options(name: str, state_dict: Mapping[str, Tensor]) -> dict[str, Any]:
    """GoogLeNet and Inception v3: auxiliary heads as the file has them.

    torchvision's own weights, which are those with 1000 classes, re-normalise their input inside the network.
    """
    if name not in ("googlenet", "inception_v3"):
        return {}
    keys = {key: key.split(".") for key in state_dict}
    heads = [key for key, parts in keys.items() if parts[-2:] == ["fc", "bias"] and not _AUX & {*parts}]
    return {
        "aux_logits": any(_AUX & {*parts} for parts in keys.values()),
        "transform_input": {len(state_dict[key]) for key in heads} == {1000},
        "init_weights": False,
    }


def build_architecture(architecture: str, arguments: Mapping[str, Any], source: str) -> nn.Module:
    """A randomly initialised network.

    Args:
        architecture: as in Checkpoint: "resnet8", "xkd/resnet8", "timm/NAME", "torchvision/NAME" or
            "py:package.module:builder".
        arguments: its keyword arguments, `num_classes` among them.
        source: what names it, for the message.

    Raises:
        XkdError: unknown name or argument.
    """
    from xkd_eval.classifiers import architectures

    library, _, name = architecture.rpartition("/")
    with reading(f"{source} {short(architecture)} fails", "expected a name and arguments of this release's libraries"):
        if library == "timm":
            import timm

            return timm.create_model(name, pretrained=False, **arguments)
        if library == "torchvision":
            from torchvision import models

            return models.get_model(name, weights=None, **arguments)
        return architectures.build(name, **arguments)


def _call(reference: str, arguments: Mapping[str, Any]) -> Any:
    function = imported(f"py:{reference}", "model")
    if not callable(function):
        raise XkdError(f"model: py:{reference} is a {type(function).__name__}; expected a function")
    check_taken(f"model: py:{reference}", function, arguments)
    if missing := missing_arguments(function, arguments):
        raise XkdError(
            f"model: py:{reference} needs {', '.join(missing)}; give it defaults, or name a function of no arguments"
        )
    try:
        with parts_untold():
            return function(**arguments)
    except XkdError:
        raise
    except Exception as error:  # the user's own code: whatever it raises is theirs to read
        raise XkdError(f"model: py:{reference} failed: {described(error)}") from error
