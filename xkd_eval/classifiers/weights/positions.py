"""Position embeddings of another input size, resized by the function that timm has beside the architecture."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from torch import Tensor, nn

from xkd_eval.foreign import reading


def resized_positions(module: nn.Module, state_dict: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """Weights for a module whose position embeddings have another size.

    Args:
        module: of timm; the weights of any other come back as they are.
        state_dict: keys as the module has them.
        where: begins the message: the argument and the file.

    Raises:
        XkdError: timm cannot resize them.
    """
    resize = getattr(sys.modules.get(type(module).__module__), "checkpoint_filter_fn", None)
    own = module.state_dict()
    positions = [name for name in own if "pos" in name.rpartition(".")[2] and name in state_dict]
    if resize is None or all(own[name].shape == state_dict[name].shape for name in positions):
        return dict(state_dict)
    with reading(f"{where}: its position embeddings cannot be resized", "give the size that they are of"):
        return dict(resize(dict(state_dict), module))
