"""Registry: everything that is found by name, ours and that of other packages."""

from __future__ import annotations

import difflib
import inspect
import sys
import traceback
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from xkd_eval.errors import XkdError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")
_A = TypeVar("_A")


class Registry(Generic[T]):
    """Name -> thing, of one kind.

    A thing is known by its name from the moment it is added (`add`, or the decorator `register`), from the entry
    points of installed packages, which are read when a name of theirs is first looked up, or by where it stands:
    "py:package.module:Thing", which is imported when it is asked for. A name stands for one thing: a second one is
    refused, except where a class or function is defined again, as a notebook's cell that is run twice does.

    Args:
        argument: that takes such a name, for the messages: "explainer".
        group: of the entry points: "xkd.explainers".
        home: modules of this project that add to it when they are imported; imported at the first look-up.
        check: returns a thing of the kind, or raises XkdError.
        name_of: the attribute that holds a thing's name: "name" where things carry one, which then has to be that of
            the entry point; "__name__" where they are functions and classes that anything may be called.
        listing: the command that lists all names, for the messages.
    """

    def __init__(
        self,
        argument: str,
        *,
        group: str,
        home: Collection[str] = (),
        check: Callable[[object], T],
        name_of: str = "name",
        listing: str | None = None,
    ) -> None:
        self.argument = argument
        self.group = group
        self._home = tuple(home)
        self._check = check
        self._name_of = name_of
        self._listing = listing
        self._known: dict[str, T] = {}
        self._points: dict[str, EntryPoint] | None = None
        self._broken: dict[str, str] = {}
        self._places: dict[str, int] = {}
        self._loaded = False
        self._loading: int | None = None

    def add(self, name: str, thing: object, *, replace: bool = False) -> T:
        """Make a thing known.

        Args:
            name: what commands, recipes and functions call it.
            thing: of the registry's kind.
            replace: take the place of whatever has the name.

        Raises:
            XkdError: it is of another kind, the name cannot be written on a command line, or something else has it.
        """
        checked = self._check(thing)
        if not isinstance(name, str) or not name or set(name) & set(":,= /") or name == "py":
            raise XkdError(f"{self.argument}: {name!r} is no name; expected one without `:`, `,`, `=`, `/` and spaces")
        place = self._place_at_home(checked)
        if not replace:
            self._check_free(name, checked, own=place is not None)
        if place is not None:
            self._places[name] = place
        self._known[name] = checked
        self._broken.pop(name, None)
        return checked

    def register(self, given: Any) -> Any:
        """Decorator: make a class or function known under its own name, or under another: `@register("name")`.

        Args:
            given: the thing, or its name.

        Raises:
            XkdError: as `add`.
        """
        if isinstance(given, str):

            def named(thing: _A) -> _A:
                self.add(given, thing)
                return thing

            return named
        self.add(getattr(self._check(given), self._name_of), given)
        return given

    def __contains__(self, name: object) -> bool:
        """Whether a name is known, be it that of a package that fails to import; no "py:" reference is."""
        self._load()
        return name in self._known or name in self._entry_points()

    def __getitem__(self, name: str) -> T:
        """The thing of that name.

        Args:
            name: known, or "py:package.module:Thing".

        Raises:
            XkdError: unknown (the nearest names are given), or its package fails to import.
        """
        if name.startswith("py:"):
            return self._imported(name)
        self._load()
        if name not in self._known and name in self._entry_points():
            self._load_point(name)
        if name in self._known:
            return self._known[name]
        if name in self._broken:
            raise XkdError(self._complaint(name))
        listing = f" (`{self._listing}` lists all)" if self._listing else ""
        raise XkdError(f"{self.argument}: unknown {name!r:.100}; {nearest(name, self.names())}{listing}")

    def names(self) -> list[str]:
        """All known names: this project's in the order of their modules, then those of others."""
        self._load()
        return list(dict.fromkeys([*self._known, *self._entry_points()]))

    def is_own(self, name: str) -> bool:
        """Whether a name is this project's."""
        self._load()
        return name in self._places

    def items(self) -> Iterator[tuple[str, T]]:
        """Names and things; what cannot be used is left out, with a warning that names it and says why."""
        for name in self.names():
            if name not in self._known:
                self._load_point(name)
            if name in self._known:
                yield name, self._known[name]
            if name in self._broken:
                warnings.warn(self._complaint(name), stacklevel=2)

    def _check_free(self, name: str, thing: T, *, own: bool) -> None:
        if not own:
            self._load()  # a name of ours is refused here, and not when ours are loaded
        there = self._known.get(name)
        if there is not None and there is not thing and not _is_redefined(there, thing):
            raise XkdError(f"{self.argument}: {name!r} is taken by {_place(there)}; choose another name")
        point = None if own else self._entry_points().get(name)
        if point is not None and _package(point.module) != _package(_module(thing)):
            raise XkdError(f"{self.argument}: {name!r} is taken by the package {_owner(point)}; choose another name")

    def _imported(self, reference: str) -> T:
        thing = self._check(imported(reference, self.argument))
        if self._name_of == "name":  # what is recorded beside results must not mean two things
            self.add(thing.name, thing)  # type: ignore[attr-defined]
        return thing

    def _load(self) -> None:
        if self._loaded or self._loading is not None:
            return
        try:
            for place, module in enumerate(self._home):
                self._loading = place
                import_module(module)
            self._loaded = True
        finally:
            self._loading = None
        others = len(self._home)
        self._known = dict(sorted(self._known.items(), key=lambda item: self._places.get(item[0], others)))

    def _place_at_home(self, thing: object) -> int | None:
        """Which of the home's modules a thing came with; None where it is of another package."""
        module = _module(thing)
        for place, own in enumerate(self._home):
            if f"{module}.".startswith(f"{own}."):
                return place
        if self._loading is None and _package(module) in map(_package, self._home):
            return len(self._home) - 1  # imported by somebody before the home's module that would have imported it
        return self._loading

    def _entry_points(self) -> Mapping[str, EntryPoint]:
        if self._points is None:
            from importlib import metadata  # takes 30 ms, and most commands name nothing of another package

            self._points = {}
            for point in metadata.entry_points(group=self.group):
                if point.name in self._known:
                    self._broken[point.name] = f"the package {_owner(point)} claims a name that is taken"
                    continue
                there = self._points.setdefault(point.name, point)
                if there.value != point.value:
                    self._broken[point.name] = (
                        f"the packages {_owner(there)} and {_owner(point)} both claim the name; remove one"
                    )
        return self._points

    def _load_point(self, name: str) -> None:
        point = self._entry_points()[name]
        if name in self._broken:
            return
        try:
            thing = self._check(point.load())
            called = getattr(thing, self._name_of)
            if self._name_of == "name" and called != name:
                raise XkdError(f"the package {_owner(point)} has it as {name!r} and it calls itself {called!r}")
        except XkdError as error:
            self._broken[name] = str(error).removeprefix(f"{self.argument}: ")
        except (Exception, SystemExit) as error:  # whatever another package's import does, it costs that package alone
            self._broken[name] = f"the package {_owner(point)} fails to import ({described(error)})"
        else:
            self._known.setdefault(name, thing)

    def _complaint(self, name: str) -> str:
        return f"{self.argument}: {name!r} cannot be used: {self._broken[name]}"


def imported(reference: str, argument: str) -> Any:
    """What "py:package.module:Thing" names; modules of the working directory come first, as for a script there.

    Args:
        reference: as a user gave it.
        argument: that held it, for the messages.

    Raises:
        XkdError: no such module or name (the nearest are given), or a module that fails to import.
    """
    module_name, _, name = reference.removeprefix("py:").partition(":")
    if not module_name or not name or ":" in name:
        raise XkdError(f"{argument}: {reference!r} found; expected py:package.module:name")
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        # It stays there: processes that are started later look the module up again.
        sys.path.insert(0, here)
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise XkdError(f"{argument}: {reference} cannot be imported ({described(error)})") from error
        raise XkdError(
            f"{argument}: {reference} names no module {error.name!r} in {here} or among the installed packages"
        ) from error
    except (Exception, SystemExit) as error:  # a user's module may raise anything
        raise XkdError(f"{argument}: {reference} cannot be imported ({described(error)})") from error
    if not hasattr(module, name):
        known = [other for other in vars(module) if not other.startswith("_")]
        raise XkdError(f"{argument}: {module_name} has no {name!r}; {nearest(name, known)}")
    return getattr(module, name)


def name_and_rest(given: str) -> tuple[str, str]:
    """What stands before and behind the colon after a name.

    "name:rest" -> ("name", "rest"); "py:package.module:Thing:rest" -> ("py:package.module:Thing", "rest"); the rest is
    "" where there is none.
    """
    parts = given.split(":", 3 if given.startswith("py:") else 1)
    names = 3 if given.startswith("py:") else 1
    return ":".join(parts[:names]), "".join(parts[names:])


def near(name: str, known: Iterable[str], *, count: int = 3, cutoff: float = 0.5) -> list[str]:
    """The known names most like a wrong one, whatever the case; the nearest first.

    Args:
        name: as given.
        known: names; of two that differ in case alone, the first.
        count: at most so many.
        cutoff: how like they must be, 0 to 1 (difflib's ratio).
    """
    folded = {other.casefold(): other for other in reversed(list(known))}
    return [folded[other] for other in difflib.get_close_matches(name.casefold(), folded, n=count, cutoff=cutoff)]


def nearest(name: str, known: Collection[str], *, limit: int = 12) -> str:
    """`near` for a message: "nearest: a, b", or all where none is near.

    Args:
        name: as given.
        known: names.
        limit: of the list where none is near; a longer one ends in "...".
    """
    if found := near(name, known):
        return f"nearest: {', '.join(found)}"
    if not known:
        return "it takes none"
    listed = [*list(known)[:limit], *(["..."] if len(known) > limit else [])]
    return f"expected one of {', '.join(listed)}"


def parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """What a function or class takes, by name; nothing is known of those of some extension modules."""
    try:
        return inspect.signature(function).parameters
    except ValueError:
        return {}


def check_taken(where: str, function: Callable[..., Any], arguments: Iterable[str]) -> None:
    """Raise XkdError for the first argument that a function or class does not take by name; the nearest are given."""
    taken = parameters(function)
    if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in taken.values()):
        for argument in arguments:
            if argument not in taken:
                raise XkdError(f"{where}: unknown argument {argument!r}; {nearest(argument, list(taken))}")


def missing_arguments(function: Callable[..., Any], arguments: Collection[str]) -> list[str]:
    """The arguments of a function or class that have no default, and that are not among the given ones."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    needed = {
        name for name, taken in parameters(function).items() if taken.kind in kinds and taken.default is taken.empty
    }
    return sorted(needed.difference(arguments))


def described(error: BaseException) -> str:
    """An error of somebody else's code in one line: "ValueError: its first line"."""
    first = str(error).strip().split("\n")[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def place_of(error: BaseException) -> str:
    """Where somebody else's code raised an error, as "mine.py:12": the author's last line, not a library's beneath."""
    frames = traceback.extract_tb(error.__traceback__)
    last = next((frame for frame in reversed(frames[1:]) if "site-packages" not in frame.filename), frames[-1])
    return f"{last.filename.rpartition('/')[2]}:{last.lineno}"


def _is_redefined(there: object, thing: object) -> bool:
    """Whether a class or function was defined again in the same place; or a class of which these are instances."""
    if hasattr(there, "__qualname__") or hasattr(thing, "__qualname__"):
        return _place(there) == _place(thing) and "<lambda>" not in _place(thing)
    return type(there) is not type(thing) and _place(there) == _place(thing)


def _place(thing: object) -> str:
    return f"{_module(thing)}.{getattr(thing, '__qualname__', type(thing).__qualname__)}"


def _module(thing: object) -> str:
    return getattr(thing, "__module__", None) or type(thing).__module__


def _package(module: str) -> str:
    return module.partition(".")[0]


def _owner(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value
