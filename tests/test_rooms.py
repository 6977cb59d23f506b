"""Imports go one way: a room imports from the floors below it. Folders and files stay as small as one can survey."""

import ast
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MOST_FILES = 15  # of a folder
MOST_LINES = 400  # of a file

# From the ground up. What stands on one line does not import each other.
FLOORS = (
    ("errors",),
    ("path_kind",),
    ("setting", "files", "reading"),
    ("export.weight_scale",),
    ("export.settings",),
    ("search.launch", "search.tensors", "search.random_streams"),
    ("search.run_lock",),
    ("search.runs",),
    ("search.settings", "search.gpu"),
    ("search.space", "search.tables"),
    ("search.spaces",),
    ("search.frame",),
    ("search.data", "search.loops"),
    ("search.machine",),
    ("search.training",),
    ("search.supernet",),
    ("search.objective",),
    ("search.elastic",),
    ("search.scores",),
    ("search.predictors",),
    ("search.evaluators",),
    ("search.strategies",),
    ("search.elastic_search",),
    ("search.pipeline", "search.transformers"),
    ("export.graph", "export.spent", "export.settings"),
    ("export.simulate", "export.taps", "export.parts"),
    ("export.trace",),
    ("export.passes",),
    ("export.netx", "export.nir", "export.tuning"),
    ("export.onnx",),
    ("export.folded",),
    ("export.targets",),
    ("export.importing", "export.convert"),
    ("deploy.settings", "deploy.sourced_numbers", "deploy.synapses", "deploy.batches"),
    ("deploy.mapping",),
    ("deploy.cost",),
    ("deploy.run",),
    ("deploy.equivalence",),
    ("deploy.diagnosis",),
    ("deploy.report",),
    ("deploy.measure", "deploy.netx_table", "deploy.doctor", "deploy.capabilities"),
    ("deploy.ensemble",),
    ("deploy.pipeline",),
    ("evaluation",),
    ("demo",),
    ("console",),
    ("options",),
    ("commands",),
    ("cli",),
)
# Export and deploy know networks, not searches: of search they see these alone.
SEEN = (
    *("search.space", "search.data", "search.run_lock", "search.runs", "search.settings"),
    *("search.random_streams", "search.tensors"),
)
TRACE_SEES_NOTHING_OF = ("search",)  # what a module is to the trace it says itself


def tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources() -> dict[str, str]:
    """Module, without `spikeport.`, -> its text; those that the package consists of."""
    around = ("tests", "benchmarks", "docs", "examples")
    paths = [path for path in tracked("*.py") if path.relative_to(ROOT).parts[0] not in around]
    return {module_of(path): path.read_text(encoding="utf-8") for path in paths if path.name != "lava_runner.py"}


@cache
def imports(module: str, text: str, is_package: bool) -> tuple[str, ...]:
    """What a module imports of the package, `from . import x` as x."""
    return tuple(_imports(module, text, is_package))


def _imports(module: str, text: str, is_package: bool) -> Iterator[str]:
    here = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (n.name.removeprefix("spikeport.") for n in node.names if n.name.startswith("spikeport."))
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                start = ".".join(here[: len(here) - node.level + 1])
                base = ".".join(part for part in (start, node.module) if part)
            elif node.module and node.module.split(".")[0] == "spikeport":
                base = node.module.removeprefix("spikeport").removeprefix(".")
            else:
                continue
            yield from (f"{base}.{name.name}".removeprefix(".") for name in node.names)


def room_of(name: str) -> str | None:
    """The longest of FLOORS that a module, or a name in it, belongs to."""
    found = [room for floor in FLOORS for room in floor if name == room or name.startswith(f"{room}.")]
    return max(found, key=len, default=None)


def offences(texts: Mapping[str, str]) -> list[str]:
    """Imports that go up, sideways, or from export and deploy to where they see nothing."""
    height = {room: number for number, floor in enumerate(FLOORS) for room in floor}
    packages = {name.rpartition(".")[0] for name in texts}
    found = []
    for module, text in texts.items():
        room = room_of(module)
        if room is None:
            continue
        for name in imports(module, text, module in packages):
            other = room_of(name)
            if other is None or other == room:
                continue
            stage = module.split(".")[0]
            unseen = stage in ("export", "deploy") and other.startswith("search.") and other not in SEEN
            blind = room == "export.trace" and other.split(".")[0] in TRACE_SEES_NOTHING_OF
            if height[other] >= height[room] or unseen or blind:
                found.append(f"{module} imports {name}")
    return found


def test_imports_go_down() -> None:
    assert offences(sources()) == []


def test_every_module_has_a_floor() -> None:
    homeless = [name for name in sources() if room_of(name) is None]
    packages = {name.rpartition(".")[0] for name in sources()}
    assert [name for name in homeless if name and name not in packages] == []


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("search.space.network", "from ..supernet.supernet import Supernet"),
        ("search.training.loop", "from ..evaluators import trials"),
        ("search.data.datasets", "from ..loops import threads"),
        ("export.graph", "from .netx.chain import chain_of"),
        ("export.targets", "from ..search.pipeline import run_search"),
        ("export.trace.rules", "from ...search.space.attention import ATTENTION"),
        ("deploy.run.forms", "from ..pipeline import deploy"),
        ("deploy.pipeline", "import spikeport.cli"),
        ("search.runs", "from spikeport.export.graph import SpikingGraph"),
    ],
)
def test_one_arrow_turned_round_is_seen(module: str, line: str) -> None:
    texts = sources()
    texts[module] = f"{line}\n{texts[module]}"
    assert len(offences(texts)) == 1


def test_no_folder_has_more_files_than_one_can_survey() -> None:
    folders: dict[Path, int] = {}
    for path in tracked():
        folders[path.parent] = folders.get(path.parent, 0) + 1
    assert {str(folder): number for folder, number in folders.items() if number > MOST_FILES} == {}


def test_no_file_is_longer_than_one_can_survey() -> None:
    lines = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8").count("\n") for path in tracked("*.py")}
    assert {name: number for name, number in lines.items() if number > MOST_LINES} == {}


def test_every_package_is_installed() -> None:
    """setuptools is given the list by hand, because the root of the repository is the package."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["packages"]
    found = [path.parent.relative_to(ROOT) for path in tracked("*__init__.py")]
    names = [".".join(("spikeport", *folder.parts)) for folder in found]
    assert sorted(listed) == sorted(names)
