"""`import spikeport` gives the verbs of a notebook: each is there, explained, and its example runs."""

import ast
import doctest
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import spikeport

TRAIN = ("find_cell", "train", "run_search", "load_network", "ensemble")
EXPORT = ("write_model", "write_step", "write_encoder")
VERBS = [
    pytest.param(name, marks=[pytest.mark.training] * (name in TRAIN) + [pytest.mark.slow] * (name in EXPORT))
    for name in spikeport.__all__
    if not name.endswith("Error")
]
ROOT = Path(__file__).parents[1]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    yield tmp_path


@pytest.mark.parametrize("name", VERBS)
def test_its_example_runs(name: str, folder: Path) -> None:
    verb = getattr(spikeport, name)
    assert (verb.__doc__ or "").strip(), f"{name} is not explained"
    place = sys.modules[verb.__module__]
    found = doctest.DocTestFinder(recurse=False).find(verb, name, module=place, globs={"spikeport": spikeport})
    examples = [test for test in found if test.examples]
    assert examples, f"{name} has no example"
    for test in examples:
        assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test).failed == 0


def test_a_wrong_example_fails() -> None:
    wrong = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, 0)
    assert doctest.DocTestRunner(verbose=False).run(wrong, out=lambda text: None).failed == 1


def test_type_checkers_see_what_the_table_gives() -> None:
    tree = ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8"))
    imported = {
        alias.name: (node.module or "").removeprefix(".")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
    }
    assert imported == spikeport._PLACES
    for name, module in spikeport._PLACES.items():
        assert getattr(spikeport, name) is getattr(importlib.import_module(f"spikeport.{module}"), name)


def test_an_unknown_name_is_told_what_there_is() -> None:
    with pytest.raises(AttributeError, match=r"has no attribute 'tracer'; it has .*trace"):
        _ = spikeport.tracer
    assert set(spikeport.__all__) <= set(dir(spikeport))


def test_nothing_heavy_is_imported_before_it_is_asked_for() -> None:
    code = "import sys, spikeport; print([m for m in ('torch', 'numpy', 'rich', 'click') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
