"""Parameters of a network by what a recipe calls them: a module's path, or a glob over names."""

from __future__ import annotations

from fnmatch import fnmatchcase

from torch import nn

from xkd_eval.errors import XkdError
from xkd_eval.registry import nearest


def parameters_named(pattern: str, network: nn.Module, argument: str) -> list[str]:
    """The names of the parameters that a pattern means: by themselves, or by a module that they lie in.

    Args:
        pattern: "stages.0", "*.bias", "blocks.?.norm1".
        network: whose parameters and modules.
        argument: for the message.

    Returns:
        In the network's order; empty for a module without parameters.

    Raises:
        XkdError: nothing is called so; the nearest is named.
    """
    names = [name for name, _ in network.named_parameters()]
    modules = [path for path, _ in network.named_modules() if path]
    found = [name for name in names if fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")]
    if not found and not any(fnmatchcase(path, pattern) for path in modules):
        known = dict.fromkeys([*modules, *names])
        raise XkdError(f"{argument}: no module or parameter is called {pattern!r}; {nearest(pattern, known)}")
    return found
