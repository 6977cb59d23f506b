"""What the site takes from the code, so that it cannot grow stale: a marker in a page -> Markdown.

A page says `<!-- from code: commands -->`; a marker stays in the source and is filled while Sphinx reads the page.
"""

import ast
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from textwrap import dedent

import click

import spikeport
from spikeport.cli import cli
from spikeport.options import OTHERS
from spikeport.search.settings.run import READERS, TABLES, SearchSettings
from spikeport.setting import Known, settings_of

MARKER = re.compile(r"^<!-- from code: (?P<name>[a-z_]+) -->$", re.MULTILINE)
ROOT = Path(spikeport.__file__).parent
STAGES = ("search", "export", "deploy")
NOT_IMPORTED = ("lava_runner.py",)  # a script of its own, in Lava's Python 3.10


def filled(page: str) -> str:
    """The page with every marker replaced. Raises KeyError for a marker that is not in `PARTS`."""
    return MARKER.sub(lambda found: PARTS[found["name"]](), page)


def commands() -> str:
    """Every command of the command line: usage, help, options in their groups."""
    with click.Context(cli, info_name="spikeport", **cli.context_settings) as top:
        return "\n\n".join(_command(top, name, command) for name, command in cli.commands.items())


def _command(top: click.Context, name: str, command: click.Command) -> str:
    with click.Context(command, info_name=name, parent=top) as context:
        usage = " ".join(command.collect_usage_pieces(context))
        parts = [f"## spikeport {name}", f"```text\nspikeport {name} {usage}\n```", _help(command.help or "")]
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in command.get_params(context):
            record = parameter.get_help_record(context)
            if record is not None:
                groups.setdefault(getattr(parameter, "group", OTHERS), []).append(record)
    for group in sorted(groups, key=lambda title: title != OTHERS):
        parts += [f"**{group}**", table(("option", "what it says"), [(f"`{a}`", escaped(b)) for a, b in groups[group]])]
    return "\n\n".join(parts)


def _help(text: str) -> str:
    """click's help: a paragraph that begins with \\b keeps its lines."""
    parts = []
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        kept = paragraph.removeprefix("\b\n")
        parts.append(escaped(paragraph) if kept == paragraph else f"```text\n{kept}\n```")
    return "\n\n".join(parts)


def settings() -> str:
    """Every setting of a search, table by table."""
    parts = [table(("before all tables", "default", "what it says"), [_setting(settings_of(SearchSettings)["seed"])])]
    for name, kind in TABLES.items():
        of = f", read by the strategy {READERS[name]} only" if name in READERS else ""
        module = (inspect.getmodule(kind).__doc__ or "").split("\n\n")[0]
        parts += [f"## `[{name}]`{of}", escaped(module), _settings(kind)]
    return "\n\n".join(parts)


def _settings(kind: type) -> str:
    return table(("setting", "default", "what it says"), [_setting(known) for known in settings_of(kind).values()])


def _setting(known: Known) -> tuple[str, str, str]:
    given = "true" if known.default is True else "false" if known.default is False else repr(known.default)
    limits = known.setting
    ranges = [f"{sign} {limit:g}" for sign, limit in _limits(limits.at_least, limits.above, limits.below)]
    allowed = f" One of {', '.join(known.choices)}." if known.choices else f" {', '.join(ranges)}." if ranges else ""
    option = f" Option: `--{limits.spelled}`." if limits.spelled else ""
    return f"`{known.name}`", f"`{given}`".replace("'", '"'), escaped(limits.help + allowed) + option


def _limits(at_least: float | None, above: float | None, below: float | None) -> list[tuple[str, float]]:
    return [(sign, x) for sign, x in ((">=", at_least), (">", above), ("<", below)) if x is not None]


def rules() -> str:
    """The modules and functions that tracing has a rule for, those with the same rule in a line."""
    from spikeport.export.trace.registry import RULES
    from spikeport.export.trace.rules import FUNCTIONS

    lines: dict[str, list[str]] = {}
    for kind, rule in RULES.items():
        place = {"torch": "nn", "spikingjelly": "layer"}.get(kind.__module__.split(".")[0], kind.__module__)
        lines.setdefault(rule.__name__, []).append(f"`{place}.{kind.__name__}`")
    for key, rule in FUNCTIONS.items():
        name = f"`{key if isinstance(key, str) else key.__name__}`"
        lines.setdefault(f"function {rule.__name__}", []).append(name)
    return "\n".join(f"- {', '.join(dict.fromkeys(names))}" for names in lines.values())


def targets() -> str:
    """What every target makes of every layer, tried now: seconds."""
    from spikeport.deploy.capabilities.table import capabilities

    rows = capabilities()
    names = list(rows[0].cells)
    lines = [(escaped(row.layer), *(row.cells[name].fate for name in names), escaped(row.words)) for row in rows]
    return table(("layer", *names, "what becomes of it"), lines)


def causes() -> str:
    """Every cause that `spikeport compare` knows: its rule, what one form then does, how to tell it, what to do."""
    import numpy as np

    from spikeport.deploy.diagnosis.hypotheses import RULES, hypotheses
    from spikeport.deploy.diagnosis.whole import WHOLE

    known = [*hypotheses(np.zeros((1, 1, 1), np.uint8))]
    rows = []
    for rule, told in RULES.items():
        names = dict.fromkeys([*(one.name for one in known if one.rule == rule), *WHOLE.get(rule, ())])
        rows.append((rule, escaped("; ".join(names)), escaped(told.shows), escaped(told.mend)))
    return table(("rule", "the candidate ...", "what shows it", "what to do"), rows)


def rooms() -> str:
    """Every package, what it is for, and its files."""
    rows = []
    for stage in ("reading", *STAGES, "commands"):
        for file in sorted((ROOT / stage).rglob("__init__.py")):
            folder = file.parent
            doc = (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").split("\n\n")[0]
            names = ", ".join(p.stem for p in sorted(folder.glob("*.py")) if p != file)
            rows.append((f"`{folder.relative_to(ROOT).as_posix()}/`", escaped(doc.replace("\n", " ")), names))
    return table(("room", "what it is for", "files"), rows)


def modules(stage: str) -> str:
    """Every module of a stage with the documentation of what it defines."""
    files = [file for file in (ROOT / stage).rglob("*.py") if file.name not in NOT_IMPORTED]
    parts = []
    for file in sorted(files, key=lambda file: (file.parent, file.name)):
        name = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        parts.append(f"## {escaped(name)}\n\n```{{eval-rst}}\n.. automodule:: spikeport.{name}\n   :members:\n```")
    return "\n\n".join(parts)


def public_names() -> str:
    """The names of `spikeport.__all__`, each with its documentation; none where there is no such list."""
    names = [name for name in getattr(spikeport, "__all__", ()) if not name.startswith("_")]
    if not names:
        return "This version has no names at the top; import from the modules."
    return "\n\n".join(f"```{{eval-rst}}\n{_directive(name, getattr(spikeport, name))}\n```" for name in names)


def _directive(name: str, value: object) -> str:
    if inspect.ismodule(value):
        return f".. automodule:: {value.__name__}\n   :members:"
    kind = "class" if inspect.isclass(value) else "function" if callable(value) else "data"
    if inspect.isclass(value) and issubclass(value, BaseException):
        kind = "exception"
    members = "\n   :members:" if kind == "class" else ""
    return f".. auto{kind}:: spikeport.{name}{members}"


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A table in Markdown. A | would end a cell, also inside of code."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def escaped(text: str) -> str:
    """Plain text as Markdown that shows it as it is; what stands in backticks is code."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if i % 2 else re.sub(r"([\\*_<\[\]$])", r"\\\1", part) for i, part in enumerate(parts))


def as_rst(docstring: str) -> str:
    """A docstring of ours, plain text with `code` and indented blocks, as reStructuredText that shows it as it is."""
    parts = []
    for paragraph in re.split(r"\n\s*\n", docstring.strip("\n")):
        lines = paragraph.split("\n")
        if lines[0].lstrip().startswith(">>>"):
            parts.append(dedent(paragraph))
        elif any(line.startswith((" ", "- ", "* ")) for line in lines) or re.match(r"\S+ {2,}\S", lines[0]):
            parts.append("::\n\n" + "\n".join(f"    {line}" for line in dedent(paragraph).split("\n")))
        else:
            parts.append(_as_rst_text(paragraph))
    return "\n\n".join(parts)


def _as_rst_text(paragraph: str) -> str:
    parts = re.split(r"(`[^`]+`)", paragraph.replace("\\", "\\\\"))
    for i, part in enumerate(parts):
        parts[i] = f"\\ `{part}`\\ " if i % 2 else re.sub(r"([*_|`])", r"\\\1", part)  # an escaped space ends a word
    return "".join(parts)


PARTS: Mapping[str, Callable[[], str]] = {
    "causes": causes,
    "commands": commands,
    **{f"modules_{stage}": partial(modules, stage) for stage in STAGES},
    "public_names": public_names,
    "rooms": rooms,
    "rules": rules,
    "settings": settings,
    "targets": targets,
}
