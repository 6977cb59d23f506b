"""The doctor names what is missing and the command that mends it."""

import importlib
import importlib.metadata
from pathlib import Path
from typing import NoReturn

import pytest

from spikeport.deploy import doctor
from spikeport.deploy.run import lava
from spikeport.errors import ToolError

NAMES = [
    "Python",
    "PyTorch",
    "SpikingJelly",
    "ONNX",
    "ONNX Runtime",
    "uv",
    "Python 3.10 for Lava",
    "Lava's environment",
]


def finding(name: str) -> doctor.Finding:
    return next(f for f in doctor.examine() if f.name == name)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No import and no process: each test says what is found."""
    monkeypatch.setattr(importlib, "import_module", lambda name: None)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.2.3")
    monkeypatch.setattr(lava, "find_python310", lambda: Path("/opt/python3.10"))
    monkeypatch.setattr(lava, "built_environment", lambda: Path("/cache/lava-runner-1/bin/python"))
    return monkeypatch


def test_all_is_well(quick: pytest.MonkeyPatch) -> None:
    findings = doctor.examine()
    assert [f.name for f in findings] == NAMES
    assert all(f.ok and f.found and f.mend == "" for f in findings)
    assert finding("ONNX Runtime").found == "1.2.3"
    assert finding("Python 3.10 for Lava").found == "/opt/python3.10"


def test_this_environment_has_its_dependencies() -> None:
    assert all(f.ok for f in doctor.examine() if "Lava" not in f.name)


def test_an_old_python(quick: pytest.MonkeyPatch) -> None:
    quick.setattr(doctor.sys, "version_info", (3, 10, 4))
    quick.setattr(doctor.sys, "version", "3.10.4 (main)")
    found = finding("Python")
    assert (found.ok, found.found, found.mend) == (False, "3.10.4, too old", "make PYTHON=python3.11")


def test_a_missing_package(quick: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "onnxruntime":
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.2.3"

    quick.setattr(importlib.metadata, "version", version)
    found = finding("ONNX Runtime")
    assert (found.ok, found.found, found.mend) == (False, "not installed", "pip install onnxruntime")
    assert finding("PyTorch").ok


@pytest.mark.parametrize("error", [ImportError("libcudart.so:\n not found"), OSError("libcudart.so:\n not found")])
def test_a_package_that_does_not_import(quick: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(name: str) -> NoReturn:
        raise error

    quick.setattr(importlib, "import_module", fail)
    found = finding("PyTorch")
    assert found.found == "1.2.3, but the import fails: libcudart.so: not found"
    assert (found.ok, found.mend) == (False, "pip install --force-reinstall torch")


def test_no_python_310_and_no_environment(quick: pytest.MonkeyPatch) -> None:
    quick.setattr(lava, "find_python310", lambda: None)
    quick.setattr(lava, "built_environment", lambda: None)
    assert finding("Python 3.10 for Lava").mend == "uv python install 3.10"
    found = finding("Lava's environment")
    assert not found.ok
    assert "5 GB" in found.found
    assert found.mend == f"uv sync --script {lava.RUNNER} --python 3.10"


def test_without_uv_lava_is_not_found(quick: pytest.MonkeyPatch) -> None:
    def fail() -> NoReturn:
        raise ToolError("uv is not installed.")

    quick.setattr(lava, "find_python310", fail)
    quick.setattr(lava, "built_environment", fail)
    for name in NAMES[-2:]:
        found = finding(name)
        assert (found.ok, found.found, found.mend) == (False, "uv is not installed.", "pip install uv")
