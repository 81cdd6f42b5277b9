"""load_classifier: from what the user names to a Classifier that is ready to be evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from xkd_eval.ambient import plain_torch
from xkd_eval.arguments import Within, check_known, public
from xkd_eval.classifiers import sources
from xkd_eval.classifiers.class_names import imagenet_classes
from xkd_eval.classifiers.classifier import CamHead, Classifier
from xkd_eval.classifiers.conventions import corrected, timm_preprocess, timm_source
from xkd_eval.classifiers.copies import copied, unwrapped
from xkd_eval.classifiers.dynamic import image_by_image
from xkd_eval.classifiers.graphs.head import find_graph_head
from xkd_eval.classifiers.graphs.network import GraphNetwork
from xkd_eval.classifiers.graphs.open import SUFFIXES as GRAPH_SUFFIXES
from xkd_eval.classifiers.graphs.open import from_graph, refuse_beside
from xkd_eval.classifiers.hub.repositories import from_timm_repository, from_transformers
from xkd_eval.classifiers.outputs import Classifying, classifying, input_channels
from xkd_eval.classifiers.overrides import FIELDS, with_channels, with_overrides
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.classifiers.proof.head import find_cam_head
from xkd_eval.classifiers.sources import Network
from xkd_eval.classifiers.told import ToldInput, tell_note
from xkd_eval.classifiers.weights.files import SUFFIXES
from xkd_eval.classifiers.weights.loading import Weights, load_state_dict, read_weights
from xkd_eval.classifiers.weights.tensors import check_finite
from xkd_eval.classifiers.weights.unwrapping import PART, parted
from xkd_eval.classifiers.words import read_words
from xkd_eval.errors import CamHeadError, XkdError
from xkd_eval.foreign import is_there, reading
from xkd_eval.registry import near

_LIBRARIES = {
    "timm": sources.from_timm,
    "torchvision": sources.from_torchvision,
    "xkd": sources.from_project,
    "embedded": sources.from_embedded,
}
_REPOSITORIES = {"hf-hub:": from_timm_repository, "hf:": from_transformers}


@public()
def load_classifier(
    model: str | Path | nn.Module | Classifier,
    *,
    weights: str | Path | None = None,
    num_classes: Annotated[int, Within(1)] | None = None,
    output: str | int | None = None,
    arguments: Mapping[str, Any] | None = None,
    **overrides: Any,
) -> Classifier:
    """Any classifier, with its input convention, its classes and its proven CAM head.

    Args:
        model: "student.pt" (a checkpoint of this project), "timm/NAME", "torchvision/NAME", "xkd/NAME" (a CIFAR
            architecture), "py:package.module:function" (returns an nn.Module or a Classifier), "embedded/exp_kd" (a
            classifier that ships; "embedded" is the teacher), "student.onnx" or "student.xml" (a graph, which ONNX
            Runtime or OpenVINO runs on the CPU), "hf-hub:ORG/MODEL" or "hf:ORG/MODEL" (timm's and transformers' of the
            hub); or a module, of which a copy is taken. A Classifier comes back as it is, unless something below
            changes it or its head was never looked for. Behind a name may stand options of its own, which win over the
            arguments here: "timm/resnet18,weights=mine.pth,size=64,mean=0.5".
        weights: a .pt, .pth, .th or .safetensors file to load into the architecture, whole or not at all, or a part of
            one: "w.pth#student". Its head says how many classes there are. Without it timm and torchvision download
            their pretrained weights.
        num_classes: checked against the head.
        output: which part of what the network gives are the logits, where it gives several: a key, an attribute or a
            place. An object's or dict's `logits` are found without. Of one logit z the classes are two, whose logits
            are -z / 2 and z / 2.
        arguments: keyword arguments of what a name stands for: {"img_size": 64} of "timm/vit_tiny_patch16_224", whose
            position embeddings timm then resizes.
        overrides: fields of Preprocess that replace the model's own: size, resize, interpolation, mean, std,
            channel_order, value_range, crop_fraction; None keeps the model's.

    Returns:
        A Classifier in eval mode whose parameters are float32 and require no gradient, on the CPU, or where the given
        module is: half and bfloat16 are cast exactly, float64 is rounded. Where there is no CAM in closed form its
        `head` is None and `head_refusal` says why. What of `weights` was left out or computed first stands in its
        `notes`. Neither autocast nor torch's defaults change what comes out. The logger "xkd_eval.models" warns of each
        note and, where nothing says what input the weights were trained with, of what is assumed; `input_from` says who
        says it.

    Raises:
        XkdError: unknown name, unreadable or unfitting weights, a wrong override, an input size that the model rejects.

    Example:
        >>> from xkd_eval import load_classifier
        >>> load_classifier("embedded/kd").head.features
        'layer3'
        >>> load_classifier("embedded/kd", size=64).head.map_size
        (16, 16)
        >>> load_classifier("torchvision/resnet18", weights="mine.pth", mean=0.5, std=0.25)  # doctest: +SKIP
    """
    given = {"weights": weights, "num_classes": num_classes, "output": output, "arguments": arguments}
    found = open_classifier(model, **given, **overrides)
    if found is not model:
        told_of(found, model, weights).tell()
    return found


@plain_torch()
@torch.inference_mode(False)
def open_classifier(model: str | Path | nn.Module | Classifier, **options: Any) -> Classifier:
    """load_classifier without a word of the input, for whoever has words of his own for it; see there."""
    if isinstance(model, str):
        model, own = read_words(model)
        options |= own
    return _opened(model, **options)


def told_of(
    classifier: Classifier, model: Any, weights: str | Path | None = None, name: str | None = None
) -> ToldInput:
    """What is told of the input of a classifier.

    Args:
        classifier: as it was opened.
        model: as it was given.
        weights: as they were given beside it.
        name: what it is called there; None is its own name.
    """
    written = None if isinstance(model, nn.Module) else _in_full(str(model))
    file = None if weights is None else str(weights)
    return ToldInput(name or classifier.name, written, file, classifier.preprocess, classifier.input_from)


@public()
def _opened(
    model: str | Path | nn.Module | Classifier,
    *,
    weights: str | Path | None = None,
    num_classes: int | None = None,
    output: str | int | None = None,
    arguments: Mapping[str, Any] | None = None,
    **overrides: Any,
) -> Classifier:
    _check_arguments(model, overrides)
    if isinstance(model, nn.Module):
        model = unwrapped(model)
    given = None if weights is None else read_weights(weights)
    overrides = {name: value for name, value in overrides.items() if value is not None}
    found = _find(model, given, arguments or {}, output)
    if isinstance(found, Network) and isinstance(found.module, GraphNetwork):
        output = None  # it was chosen where the graph was read
    _check_usable(found if isinstance(found, Classifier) else found.module)
    if isinstance(found, Classifier):
        if not overrides and given is None and output is None and (found.head is not None or found.head_refusal):
            return _checked(found, num_classes)
        module = copied(found.model) if found is model else found.model
        network = Network(module, found.preprocess, found.class_names, found.wordnet_ids, found.notes, found.input_from)
        return _classifier(network, found.name, num_classes, output, overrides)
    return _classifier(found, _name(model, given), num_classes, output, overrides)


def _check_arguments(model: Any, overrides: Mapping[str, Any]) -> None:
    if not isinstance(model, str | Path | nn.Module):
        raise XkdError(f"model: got {type(model).__name__}; expected a name, a path or a module")
    check_known(overrides, ["weights", "num_classes", "output", "arguments", *FIELDS])
    with_overrides(Preprocess(), overrides)  # before anything is read


def _find(
    model: str | Path | nn.Module, weights: Weights | None, arguments: Mapping[str, Any], output: str | int | None
) -> Network | Classifier:
    if isinstance(model, nn.Module):
        sources.refuse_arguments("a module", arguments)
        return _from_module(model, weights)
    model = _in_full(str(model))
    for prefix, read in _REPOSITORIES.items():
        if str(model).startswith(prefix):
            return read(str(model).removeprefix(prefix), weights, arguments)
    library, _, name = str(model).partition("/")
    exists = is_there(model)
    if str(model).startswith("py:"):
        return sources.from_function(str(model).removeprefix("py:"), weights, arguments)
    if library in _LIBRARIES and name and not exists:
        return _LIBRARIES[library](name, weights, arguments)
    if Path(model).suffix in GRAPH_SUFFIXES:
        refuse_beside(str(model), weights, arguments)
        return from_graph(Path(model), output)
    if exists or Path(model).suffix in SUFFIXES:
        sources.refuse_arguments(repr(str(model)), arguments)
        return sources.from_checkpoint(Path(model), weights)
    raise _unknown(str(model))


def _in_full(model: str) -> str:
    return "embedded/teacher" if model == "embedded" else model


def _from_module(model: nn.Module, weights: Weights | None) -> Network | Classifier:
    if isinstance(model, Classifier) and weights is None:
        return model
    # A copy, because the caller may be training it, and what is returned is frozen.
    with _made_ready(type(model).__name__):
        module = copied(model).float()
    inner = module.model if isinstance(module, Classifier) else module
    notes: tuple[str, ...] = ()
    if weights is not None:
        notes = (*weights.notes, *load_state_dict(inner, weights.state_dict, weights.path))
    if isinstance(module, Classifier):
        module.notes += notes
        return module
    source = timm_source(module, foreign=weights is not None)
    return Network(module, timm_preprocess(module), notes=notes, input_from=source)


def _check_usable(module: nn.Module) -> None:
    if isinstance(module, torch.fx.GraphModule) and "eval" in vars(module):  # torch.export puts a refusal there
        raise XkdError(
            f"model: {type(module).__name__} is a program of torch.export in one piece; expected modules: "
            "torch.export.unflatten(program) has them, in place of program.module()"
        )
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.device.type == "meta":
            raise XkdError(
                f"model: {type(module).__name__} has no values in {name!r}, which is on the meta device; "
                "move it with to_empty() and load its weights"
            )


def _made_ready(name: str) -> AbstractContextManager[None]:
    """Lazy modules before their first forward refuse what is asked of every other."""
    return reading(
        f"model: {name} cannot be evaluated as it is",
        "expected an nn.Module that has its weights: run a lazy one once",
    )


def _classifier(
    network: Network, name: str, num_classes: int | None, output: str | int | None, overrides: Mapping[str, Any]
) -> Classifier:
    with _made_ready(name):
        module = image_by_image(network.module.float().eval())
        for parameter in module.parameters():
            parameter.requires_grad_(False)
    check_finite(
        {key: value for key, value in module.state_dict().items() if isinstance(value, Tensor)}, f"model: {name}"
    )
    preprocess, source = corrected(network.preprocess, network.input_from, overrides)
    if "channels" not in overrides:
        preprocess = with_channels(preprocess, input_channels(module, preprocess))
    module, counted = classifying(module, preprocess, output)
    head, refusal = None, ""
    try:
        head = _head_of(module, preprocess)
    except CamHeadError as error:
        refusal = str(error)
    names, ids = network.class_names, network.wordnet_ids
    if names is None and ids is None and (known := imagenet_classes(counted)) is not None:
        names, ids = known
    classifier = Classifier(
        module,
        preprocess,
        name=name,
        num_classes=counted,
        class_names=names,
        wordnet_ids=ids,
        head=head,
        head_refusal=refusal,
        notes=network.notes,
        input_from=source,
    )
    for note in classifier.notes:
        tell_note(f"{name}: {note}")
    return _checked(classifier.eval(), num_classes)


def _head_of(module: nn.Module, preprocess: Preprocess) -> CamHead:
    """See `find_cam_head`, and of a graph, whose layers are no modules, `find_graph_head`."""
    inner = module.network if isinstance(module, Classifying) else module
    if not isinstance(inner, GraphNetwork):
        return find_cam_head(module, preprocess)
    head = find_graph_head(inner, preprocess)
    return head if inner is module else head.within("network")


def _checked(classifier: Classifier, num_classes: int | None) -> Classifier:
    for kind, listed in (("class names", classifier.class_names), ("WordNet ids", classifier.wordnet_ids)):
        if listed is not None and len(listed) != classifier.num_classes:
            raise XkdError(
                f"model: {classifier.name} has {classifier.num_classes} logits and {len(listed)} {kind}; "
                "expected one a logit"
            )
    if num_classes is not None and num_classes != classifier.num_classes:
        raise XkdError(
            f"num_classes: {num_classes} found, and {classifier.name} has {classifier.num_classes} classes; "
            "name weights of a model with as many"
        )
    return classifier


def _name(model: str | Path | nn.Module, weights: Weights | None) -> str:
    if isinstance(model, nn.Module):
        name = type(model).__name__
    else:
        name = Path(model).stem if Path(model).suffix in (*SUFFIXES, *GRAPH_SUFFIXES) else str(model)
    if weights is None:
        return name
    file, part = parted(weights.path)
    return f"{name} ({file.stem}{PART if part else ''}{part})"


def _unknown(model: str) -> XkdError:
    import timm
    from torchvision import models

    from xkd_eval.classifiers import architectures

    libraries = {
        "torchvision": models.list_models(module=models),
        "timm": timm.list_models(),
        "xkd": architectures.names(),
    }
    bare = model.rpartition("/")[2]
    nearest = [
        f"{library}/{name}" for library, names in libraries.items() for name in near(bare, names, count=1, cutoff=0.8)
    ]
    if nearest:
        return XkdError(f"model: {model!r} is no file; nearest: {', '.join(nearest)}")
    return XkdError(
        f"model: {model!r} is no file and no known model; expected a checkpoint file, timm/NAME, torchvision/NAME, "
        "xkd/NAME or py:package.module:function"
    )
