"""Options of the commands: what all of them have, one for each setting of a dataclass, and the run that is meant."""

import functools
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from .console import Console
from .errors import SpikeportError
from .search.run_lock import claimed
from .search.runs import Run, newest_run, open_run
from .setting import Known, settings_of

Command = Callable[..., None]

RUN = "run"
FAILED = 3
OTHERS = "Options"  # the group of those that belong to no table


class SettingOption(click.Option):
    """The option of a setting. group: the heading it stands under; common: whether --help shows it."""

    def __init__(self, *words: Any, group: str = OTHERS, common: bool = True, **more: Any) -> None:
        super().__init__(*words, **more)
        self.group, self.common = group, common


class GroupedCommand(click.Command):
    """A command whose help has its options in groups, those that most people need first."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.write_groups(ctx, formatter, everything=False)

    def write_groups(self, ctx: click.Context, formatter: click.HelpFormatter, *, everything: bool) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        hidden = 0
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            if everything or getattr(parameter, "common", True):
                groups.setdefault(getattr(parameter, "group", OTHERS), []).append(record)
            else:
                hidden += 1
        for group in sorted(groups, key=lambda name: name != OTHERS):
            with formatter.section(group):
                formatter.write_dl(groups[group])
        if hidden:
            formatter.write_paragraph()
            formatter.write_text(f"{hidden} more options: {ctx.command_path} --help-all")


def _show_everything(ctx: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    command = ctx.command
    if not wanted or ctx.resilient_parsing or not isinstance(command, GroupedCommand):
        return
    formatter = ctx.make_formatter()
    command.format_usage(ctx, formatter)
    command.format_help_text(ctx, formatter)
    command.write_groups(ctx, formatter, everything=True)
    click.echo(formatter.getvalue().rstrip("\n"))
    ctx.exit()


help_all_option = click.option(
    "--help-all", is_flag=True, is_eager=True, expose_value=False, callback=_show_everything, help="All options."
)


def common_options(command: Command) -> Command:
    """--json and --quiet; the command gets a Console."""

    @click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object and nothing else.")
    @click.option("--quiet", "-q", is_flag=True, help="No progress on stderr.")
    @functools.wraps(command)
    def wrapped(as_json: bool, quiet: bool, **options: Any) -> None:
        console = Console(as_json=as_json, quiet=quiet)
        try:
            command(console, **options)
        except KeyboardInterrupt:
            raise SpikeportError("Stopped; nothing is half written, so the same command begins anew.") from None
        finally:
            console.close()

    return wrapped


def end(*, failed: bool) -> None:
    """Everything ran; exit code 3 where the verdict is fail, or a target was missed."""
    if failed:
        sys.exit(FAILED)


def settings_options(settings: type, group: str = OTHERS) -> Callable[[Command], Command]:
    """One option per setting of a class; an option that is not given stays None."""

    def decorate(command: Command) -> Command:
        for known in reversed([*settings_of(settings).values()]):
            command = setting_option(known, group)(command)
        return command

    return decorate


def setting_option(known: Known, group: str) -> Callable[[Command], Command]:
    """--no-... switches off what is on; a Literal is a choice."""
    kind: Any = click.Choice(known.choices) if known.choices else known.kind
    name = (known.setting.spelled or known.name).replace("_", "-")
    switch = f"--{name}/--no-{name}" if kind is bool else f"--{name}"
    return click.option(
        switch,
        known.name,
        cls=SettingOption,
        group=group,
        common=known.setting.common,
        type=kind,
        default=None,
        help=f"{known.setting.help} [default: {known.default}]" if known.default != "" else known.setting.help,
    )


def tables_options(tables: Mapping[str, type], readers: Mapping[str, str]) -> Callable[[Command], Command]:
    """The settings of several tables, each a group of its own; `readers` says whose one is, where not everyone's."""

    def decorate(command: Command) -> Command:
        for table in reversed([*tables]):
            only = f", strategy {readers[table]} only" if table in readers else ""
            command = settings_options(tables[table], f"Settings [{table}]{only}")(command)
        return command

    return decorate


def run_options(command: Command) -> Command:
    """A run as the argument RUN or as --run: the command gets its path, or None, for `the_run`."""

    @click.argument(RUN, type=click.Path(path_type=Path), required=False)
    @click.option("--run", "folder", type=click.Path(path_type=Path), help="The same [default: the newest in runs/].")
    @functools.wraps(command)
    def wrapped(*arguments: Any, run: Path | None, folder: Path | None, **options: Any) -> None:
        command(*arguments, path=one_of(run, folder), **options)

    return wrapped


def one_of(argument: Path | None, option: Path | None) -> Path | None:
    """The run that is named, whichever way. Raises click.UsageError where both ways name different ones."""
    if argument is not None and option is not None and argument != option:
        raise click.UsageError(f"The run is named twice, as '{argument}' and as --run '{option}'; name it once.")
    return argument or option


def the_run(path: Path | None) -> Run:
    """Opened; without a path the newest. Raises InputError where there is none."""
    return newest_run() if path is None else open_run(path)


def claim(run: Run) -> Run:
    """Nobody else writes into the run until the command ends. Raises InputError that says who does already."""
    click.get_current_context().with_resource(claimed(run.path))
    return run
