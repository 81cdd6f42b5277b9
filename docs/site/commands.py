"""The reference of the command line, from the parsers."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import typer
from rich.text import Text

from distill.cli import app as distill_app
from docs.site.markdown import code, plain, table
from xkd_eval.cli import app as eval_app


def pages() -> dict[str, str]:
    """File name -> Markdown, a page a program."""
    return {f"{app.info.name}.md": _page(app) for app in (eval_app, distill_app)}


def _page(app: typer.Typer) -> str:
    group: Any = typer.main.get_command(app)
    commands = [_command(f"{app.info.name} {name}", command) for name, command in sorted(group.commands.items())]
    return "\n\n".join([f"# {app.info.name}", plain(app.info.help), *commands]) + "\n"


def _command(name: str, command: Any) -> str:
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
    words = [_usage(argument) for argument in arguments]
    parts = [f"## {name}", plain(command.help), f"    {' '.join([name, *words, '[OPTIONS]'])}"]
    if arguments:
        parts.append(table(("argument", ""), [(code(_usage(one)), _help(one)) for one in arguments]))
    for title, those in groupby(options, key=lambda option: getattr(option, "rich_help_panel", None) or "Options"):
        rows = [(_spellings(option), _help(option), _default(option)) for option in those]
        parts.append(f"**{plain(title)}**\n\n{table(('option', '', 'default'), rows)}")
    return "\n\n".join([*parts, *_examples(command.epilog)])


def _usage(argument: Any) -> str:
    word = argument.metavar or argument.name.upper()
    word = f"{word}..." if argument.nargs == -1 and not word.endswith("...") else word
    return word if argument.required else f"[{word}]"


def _spellings(option: Any) -> str:
    return ", ".join(code(spelling) for spelling in [*option.opts, *option.secondary_opts])


def _help(parameter: Any) -> str:
    return plain(Text.from_markup(parameter.help or "").plain)


def _default(option: Any) -> str:
    value = option.default
    if value is None or option.required or callable(value) or isinstance(option.show_default, str):
        return plain(option.show_default) if isinstance(option.show_default, str) else ""
    if isinstance(value, bool):
        return ("yes" if value else "no") if option.secondary_opts else ""
    return code(",".join(map(str, value)) if isinstance(value, list | tuple) else getattr(value, "value", value))


def _examples(epilog: str | None) -> list[str]:
    """The text behind a command's help: titles, sentences (which end in a dot), and everything else as code."""
    found: list[str] = []
    for paragraph in (epilog or "").split("\n\n"):
        text = Text.from_markup(paragraph).plain
        if paragraph.startswith("[b]") and paragraph.endswith("[/b]"):
            found.append(f"**{plain(text)}**")
        elif text.endswith("."):
            found.append(plain(text))
        elif text:
            lines = "\n".join(f"    {line}" for line in text.split("\n"))
            if found and found[-1].startswith("    "):
                lines = f"{found.pop()}\n{lines}"
            found.append(lines)
    return found
