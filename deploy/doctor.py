"""What spikeport needs on this machine: found or not, and the command that mends it."""

import importlib
import importlib.metadata
import sys
from dataclasses import dataclass

from ..errors import ToolError
from .run import lava

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
    return (_python(), *(_package(*package) for package in PACKAGES), *_lava())


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


def _lava() -> tuple[Finding, Finding]:
    names = ("Python 3.10 for Lava", "Lava's environment")
    try:
        python, built = lava.find_python310(), lava.built_environment()
    except ToolError as error:
        first, second = (Finding(name=name, ok=False, found=str(error), mend="pip install uv") for name in names)
        return first, second
    return (
        Finding(
            name=names[0],
            ok=python is not None,
            found=str(python or "not found"),
            mend="" if python else "uv python install 3.10",
        ),
        Finding(
            name=names[1],
            ok=built is not None,
            found=str(built or "not built yet; the first run of Lava builds it, about 5 GB"),
            mend="" if built else f"uv sync --script {lava.RUNNER} --python {python or '3.10'}",
        ),
    )
