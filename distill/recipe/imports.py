"""A recipe's `imports`: modules that make names known before the recipe's names are looked up."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from distill.recipe.schema import Recipe
from xkd_eval.errors import XkdError
from xkd_eval.foreign import is_there, short
from xkd_eval.registry import described

_FILE = ".py"


def beside(values: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    """A recipe's values, with the files among its `imports` as whole paths.

    Args:
        values: plain, and perhaps no recipe's yet.
        folder: that the paths are relative to.
    """
    imports = values.get("imports")
    if not isinstance(imports, list | tuple):
        return values
    return {**values, "imports": [_whole(name, folder) if _is_file(name) else name for name in imports]}


def import_modules(recipe: Recipe) -> None:
    """Import a recipe's modules; those of the working directory come first, as for a script there.

    Args:
        recipe: its `imports`.

    Raises:
        XkdError: see `import_all`.
    """
    import_all(recipe.imports)


def import_all(names: Iterable[str]) -> None:
    """Import modules, and files as the modules that they are called: mine.py is `mine` afterwards, also for "py:".

    Args:
        names: "package.module", or the path of a file that ends in .py.

    Raises:
        XkdError: one that is not found or fails to import, by its name; a file that is called as another module.
    """
    for name in names:
        folder = Path(_whole(name, Path.cwd())).parent if _is_file(name) else Path.cwd()
        if str(folder) not in sys.path and not (folder == Path.cwd() and "" in sys.path):
            # It stays there: processes that decode images look the module up again.
            sys.path.insert(0, str(folder))
        module = Path(name).stem if _is_file(name) else name
        if _is_file(name):
            _check_file(folder / Path(name).name, module)
        try:
            made = import_module(module)
        except (Exception, SystemExit) as error:  # a user's module may raise anything
            raise XkdError(f"imports: {name} cannot be imported ({described(error)})") from error
        if _is_file(name):
            _check_same(folder / Path(name).name, made)


def _is_file(name: object) -> bool:
    return isinstance(name, str) and name.endswith(_FILE)


def _whole(name: str, folder: Path) -> str:
    try:
        return str((folder / name).resolve())
    except (OSError, ValueError):  # no disk has such a name, which is said where it is imported
        return name


def _check_file(file: Path, module: str) -> None:
    if not is_there(file, Path.is_file):
        raise XkdError(f"imports: {short(str(file))} does not exist; give a file, or a module as package.module")
    if not module.isidentifier():
        raise XkdError(f"imports: {short(file.name)} can be no module's name; expected one as mine.py")


def _check_same(file: Path, module: ModuleType) -> None:
    """A file that is called as a library, or as a file of another folder, would not be what was imported."""
    found = getattr(module, "__file__", None)
    if found is None or Path(found).resolve() != file.resolve():
        raise XkdError(f"imports: {short(str(file))} is called as another module, {module.__name__}; rename the file")
