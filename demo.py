"""The whole road on scikit-learn's digits: search, export, deploy; for who wants to see what there is."""

from collections.abc import Callable
from pathlib import Path

from .deploy.pipeline import Deployment, deploy
from .deploy.run.lava import lava_missing
from .deploy.settings import DeploySettings
from .export.targets import export
from .search.pipeline import run_search
from .search.runs import Run
from .search.settings.run import choose
from .search.training.progress import Progress, silent

# Small enough for two CPU cores and a few minutes: digits are 8x8, and the plain primitives cost a third of `darts`.
SETTINGS = choose(
    dataset="digits",
    primitives="plain",
    supernet="plain",  # after so short a search the kernel-space supernet's cells train to 1 to 4 points less
    channels=8,
    cells=3,
    time_steps=2,
    shift=1,
    search_epochs=6,
    learning_rate=0.1,
    alpha_learning_rate=0.01,  # in 6 short epochs the alphas take few steps, so they must be long
    train_epochs=32,
    train_learning_rate=0.1,
)

# Of one `make demo` on two cores: 63, 46, 20 and 91 s; other machines take other times.
STAGES = "search about 1 minute, training 1, export seconds, comparing, pricing and Lava 1 (built once, in that)"


def run_demo(
    out: Path,
    *,
    lava: bool = True,
    progress: Progress = silent,
    tell: Callable[[str], None] = lambda sentence: None,
    command: str = "spikeport demo",
) -> Deployment:
    """Search, export and deploy into a run folder; one that was broken off goes on where it was.

    With `lava` real Lava confirms the export, unless it cannot be had here: then the check says that it was not run,
    why, and how to add it. Raises what the stages raise.
    """
    tell(f"on two cores: {STAGES}")
    run = run_search(SETTINGS, out, resume=Run(out).manifest.exists(), progress=progress, command=command)
    export(run, "all", tell)
    missing = lava_missing(tell) if lava else None
    settings = DeploySettings(lava=lava)
    if missing is not None:
        tell(f"going on without Lava: {missing}")
        settings = DeploySettings(lava=False, without_lava=missing)
    return deploy(run, settings, tell)
