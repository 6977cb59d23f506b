"""The demo goes on without Lava where there is no Python 3.10, says so, and says how to add it."""

from pathlib import Path
from typing import Any

import pytest

from spikeport import demo
from spikeport.console import Console
from spikeport.deploy.pipeline import Deployment
from spikeport.deploy.run import lava
from spikeport.deploy.settings import DeploySettings
from spikeport.errors import ToolError
from spikeport.search.runs import Run


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[DeploySettings]:
    """The settings that the stage deploy was given; search and export are left out."""
    given: list[DeploySettings] = []

    def deploy(run: Run, settings: DeploySettings, tell: Any) -> Deployment:
        given.append(settings)
        return Deployment(run=run, equivalence={}, energy=None, activity=None)

    monkeypatch.setattr(demo, "run_search", lambda settings, out, **told: Run(out))
    monkeypatch.setattr(demo, "export", lambda run, target, tell: [])
    monkeypatch.setattr(demo, "deploy", deploy)
    return given


def no_python(progress: object = None) -> Path:
    raise ToolError(lava.NO_PYTHON)


def test_without_python_310(deployed: list[DeploySettings], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(lava, "built_environment", lambda: None)
    monkeypatch.setattr(lava, "python310", no_python)
    told: list[str] = []
    demo.run_demo(tmp_path, tell=told.append)
    (settings,) = deployed
    assert not settings.lava and "`uv python install 3.10`" in settings.without_lava
    assert any("going on without Lava: " in sentence for sentence in told)
    assert demo.STAGES in told[0]


def test_with_lava(deployed: list[DeploySettings], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(demo, "lava_missing", lambda tell: None)
    demo.run_demo(tmp_path)
    assert deployed == [DeploySettings(lava=True)]


def test_when_it_is_left_out_nobody_looks_for_it(
    deployed: list[DeploySettings], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(demo, "lava_missing", lambda tell: pytest.fail("looked for Lava"))
    demo.run_demo(tmp_path, lava=False)
    assert deployed == [DeploySettings(lava=False)]


def test_the_verdict_says_what_did_not_confirm_it() -> None:
    check = {
        **dict.fromkeys(("spikes_compared", "spikes_differing", "first_divergence", "accuracy_reference", "verdict")),
        "name": "loihi",
        "reference": "twin.onnx",
        "candidate": "Lava network.net",
        "status": "not run",
        "reason": lava.NO_PYTHON,
    }
    equivalence = {"verdict": "pass", "checks": [check]}
    found = Deployment(run=Run(Path("runs/demo")), equivalence=equivalence, energy=None, activity=None)
    _, parts = Console(as_json=False, quiet=True).deployed(found)
    assert any(f"not confirmed by 'loihi': {lava.NO_PYTHON}" in str(part) for part in parts)
