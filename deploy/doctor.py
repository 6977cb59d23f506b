"""What spikeport needs on this machine: found or not, and the command that mends it."""

import importlib
import importlib.metadata
import sys
from dataclasses import dataclass

from ..errors import ToolError
from . import lava

OLDEST_PYTHON = (3, 11)
PACKAGES = (  # (name, distribution, module)
    ("PyTorch", "torch", "torch"),
    ("SpikingJelly", "spikingjelly", "spikingjelly"),
    ("ONNX", "onnx", "onnx"),
    ("ONNX Runtime", "onnxruntime", "onnxruntime"),
    ("uv", "uv", "uv"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that spikeport needs."""

    name: str
    ok: bool
    found: str  # the version or path, or what is wrong
    mend: str  # the command that mends it; empty where ok


def examine() -> tuple[Finding, ...]:
    """Examine this environment, then Lava's. Changes, builds and fetches nothing."""
    return (_python(), *(_package(*package) for package in PACKAGES), _python310(), _lava_environment())


def _python() -> Finding:
    version = sys.version.split()[0]
    if sys.version_info >= OLDEST_PYTHON:
        return Finding(name="Python", ok=True, found=version, mend="")
    return Finding(name="Python", ok=False, found=f"{version}, too old", mend="make PYTHON=python3.11")


def _package(name: str, distribution: str, module: str) -> Finding:
    """A package counts as found only if it can be imported: a version alone may stand for a damaged installation."""
    mend = f"pip install --force-reinstall {distribution}"
    try:
        version = importlib.metadata.version(distribution)
        importlib.import_module(module)
    except importlib.metadata.PackageNotFoundError:
        return Finding(name=name, ok=False, found="not installed", mend=f"pip install {distribution}")
    except (ImportError, OSError) as error:  # OSError: a shared library that does not load
        reason = " ".join(str(error).split())
        return Finding(name=name, ok=False, found=f"{version}, but the import fails: {reason}", mend=mend)
    return Finding(name=name, ok=True, found=version, mend="")


def _python310() -> Finding:
    name = "Python 3.10 for Lava"
    try:
        found = lava.find_python310()
    except ToolError as error:
        return Finding(name=name, ok=False, found=str(error), mend="pip install uv")
    if found is None:
        return Finding(name=name, ok=False, found="not found", mend="uv python install 3.10")
    return Finding(name=name, ok=True, found=str(found), mend="")


def _lava_environment() -> Finding:
    name = "Lava's environment"
    try:
        built = lava.built_environment()
    except ToolError as error:
        return Finding(name=name, ok=False, found=str(error), mend="pip install uv")
    if built is None:
        return Finding(
            name=name,
            ok=False,
            found="not built yet; the first run of Lava builds it (about 5 GB)",
            mend=f"uv sync --script {lava.RUNNER} --python 3.10",
        )
    return Finding(name=name, ok=True, found=str(built), mend="")
