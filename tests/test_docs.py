"""What README.md and docs/ say is there: links, pictures, files, commands with their options, names to import."""

import ast
import importlib.util
import re
import shlex
from pathlib import Path

import click
import pytest

from spikeport.cli import cli
from spikeport.docs.from_code import PARTS, as_rst, escaped, filled

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SCRIPTS = {
    path.relative_to(ROOT).as_posix(): path.read_text("utf-8")
    for folder in ("benchmarks", "examples")
    for path in (ROOT / folder).rglob("*.py")
}
PATH = re.compile(r"(?:search|export|deploy|docs|examples|benchmarks|tests)/[\w/.-]*\w\.(?:py|toml)")
COMMAND = re.compile(r"(?:\$ |python )?(?:spikeport|cli\.py) (?P<words>[a-z].*)")
SCRIPT = re.compile(r"python (?P<path>(?:benchmarks|examples)/\w+\.py)(?P<words>.*)", re.DOTALL)
OPTION = re.compile(r"--[a-z][a-z-]*")


def code(text: str) -> list[str]:
    """What is written as code: the lines of blocks, a continued one as one, and what stands in backticks."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return [*lines, *(" ".join(span.replace("\\|", "|").split()) for span in re.findall(r"`([^`]+)`", prose))]


def misspelled(line: str) -> str | None:
    """What click says of a `spikeport` line; None where it takes it. Nothing is run."""
    found = COMMAND.fullmatch(line.strip())
    if found is None:
        return None
    name, *words = shlex.split(found["words"], comments=True)
    command = cli.commands.get(name)
    if command is None:
        return f"no command '{name}'"
    if not words:  # the command itself is meant
        return None
    try:
        command.make_context(name, words)
    except click.exceptions.Exit:  # --help
        return None
    except click.UsageError as error:
        return error.format_message()
    return None


@pytest.fixture(params=PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def page(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


def test_links_and_pictures_lead_to_files(page: Path) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)|literalinclude\} (\S+)", page.read_text("utf-8"))
    local = ["".join(target).split("#")[0] for target in targets if "://" not in "".join(target)]
    assert [target for target in local if target and not (page.parent / target).is_file()] == []


def test_files_that_are_named_exist(page: Path) -> None:
    named = {path for span in code(page.read_text("utf-8")) for path in PATH.findall(span)}
    assert sorted(path for path in named if not (ROOT / path).is_file()) == []


def test_commands_are_understood(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert {line: said for line in code(page.read_text("utf-8")) if (said := misspelled(line))} == {}


def test_options_exist(page: Path) -> None:
    """Those of a script in the script; those that stand alone in a command or a script."""
    known = {word for command in cli.commands.values() for p in command.params for word in (*p.opts, *p.secondary_opts)}
    all_scripts, unknown = " ".join(SCRIPTS.values()), []
    for line in code(page.read_text("utf-8")):
        script = SCRIPT.fullmatch(line.split("#")[0].strip())
        if script:
            unknown += [o for o in OPTION.findall(script["words"]) if o not in SCRIPTS[script["path"]]]
        elif line.startswith("--"):
            unknown += [o for o in OPTION.findall(line) if o not in known and o not in all_scripts]
    assert unknown == []


def test_make_targets_exist(page: Path) -> None:
    rules = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = {found for line in code(page.read_text("utf-8")) for found in re.findall(r"^make ([a-z]+)", line)}
    assert named - rules == set()


def test_python_imports_what_exists(page: Path) -> None:
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("spikeport"):
                assert importlib.util.find_spec(str(node.module)) is not None
                module = importlib.import_module(str(node.module))
                assert [name.name for name in node.names if not hasattr(module, name.name)] == []


def test_the_recipe_from_torch_to_netx_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    (recipe,) = (block for block in blocks if "spikeport.trace(" in block)
    exec(recipe, {})
    for line, said in zip(
        re.findall(r"^print.*# (.*)$", recipe, re.MULTILINE), capsys.readouterr().out.splitlines(), strict=True
    ):
        assert said.startswith(line)


def test_markers_are_known(page: Path) -> None:
    names = re.findall(r"<!-- from code: (\w+) -->", page.read_text("utf-8"))
    assert set(names) <= PARTS.keys()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("spikeport exprot runs/mine", "no command"),
        ("spikeport deploy runs/mine --no-laava", "No such option"),
        ("$ spikeport fit --chips many", "is not a valid integer"),
        ("spikeport run network.net --out result.npz", "Missing option '--input'"),
        ("spikeport search --primitives some   # a remark", "is not one of"),
    ],
)
def test_a_wrong_command_is_seen(line: str, said: str) -> None:
    assert said in str(misspelled(line))


def test_every_command_and_setting_is_on_the_site() -> None:
    commands, settings = filled("<!-- from code: commands -->"), filled("<!-- from code: settings -->")
    for name, command in cli.commands.items():
        assert f"## spikeport {name}\n" in commands
        assert all(max(p.opts, key=len) in commands for p in command.params if isinstance(p, click.Option))
    assert "| `sop_weight` | `0.0` |" in settings and "## `[strategy.random]`" in settings


def test_plain_text_stays_what_it_is() -> None:
    assert escaped("runs/<next> `.npy` [S, *shape]") == r"runs/\<next> `.npy` \[S, \*shape\]"
    assert as_rst("A `name` of *shape.\n\n    w = 2\n\n>>> 1 + 1\n2") == (
        "A \\ ``name``\\  of \\*shape.\n\n::\n\n    w = 2\n\n>>> 1 + 1\n2"
    )
