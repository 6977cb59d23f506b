"""Help and errors come at once: what a command needs is imported after its words were understood."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

HEAVY = {
    *("torch", "torchvision", "spikingjelly", "numpy", "scipy", "sklearn", "numba", "onnx", "onnxruntime", "h5py"),
    *("matplotlib", "jinja2", "safetensors", "tensorboard"),
}
# Of the package, what a command may need before it has anything to do.
LIGHT = {
    *(
        "cli",
        "commands",
        *(
            f"commands.{name}"
            for name in (
                "comparing",
                "converting",
                "costs",
                "ensembles",
                "importing",
                "tables",
                "targets",
                "transformers",
            )
        ),
        "console",
        "errors",
        "files",
        "options",
        "path_kind",
        "setting",
    ),
    *("export", "export.settings", "export.weight_scale"),
    *("deploy", "deploy.mapping", "deploy.mapping.capacity", "deploy.settings", "deploy.sourced_numbers"),
    *(
        "search",
        "search.launch",
        "search.run_lock",
        "search.runs",
        "search.training",
        "search.training.progress",
        "search.settings",
    ),
    *(f"search.settings.{name}" for name in ("darts", "data", "file", "network", "objective", "random_cells", "run")),
    *(f"search.settings.{name}" for name in ("elastic", "imported", "strategies", "supernet", "training", "trials")),
    *(f"search.space{name}" for name in ("", ".transformer", ".transformer.settings")),
}
# The error of a price list is known once the lists have been read.
PRICES = {"deploy.cost", "deploy.cost.prices", "deploy.cost.profiles"}

COMMAND = """
import json, sys
sys.argv = ["spikeport", *sys.argv[1:]]
from spikeport.cli import main
try:
    main()
except SystemExit as ended:
    code = ended.code or 0
print("\\n" + json.dumps([code, sorted(sys.modules)]))
"""


def started(folder: Path, *words: str) -> tuple[int, set[str], str]:
    """Exit code, modules and what was said, of a process of its own."""
    done = subprocess.run([sys.executable, "-c", COMMAND, *words], capture_output=True, text=True, cwd=folder)
    code, modules = json.loads(done.stdout.splitlines()[-1])
    return code, set(modules), done.stdout + done.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--help",), 0, "spikeport demo"),
        (("--version",), 0, "spikeport, version"),
        (("search", "--help"), 0, "--search-epochs"),
        (("search", "--help-all"), 0, "--zero-one-weight"),
        (("import", "--help"), 0, "--example"),
        (("import", "nets.py:build", "--example", "3x3"), 1, "--example 3x32x32"),
        (("export", "--help"), 0, "onnx, loihi, nir or all"),
        (("deploy", "--help"), 0, "--lava-samples"),
        (("fit", "--help"), 0, "truenorth"),
        (("table", "--help"), 0, "extend"),
        (("table", "build", "t.jsonl", "--space", "all"), 2, "'all' is not one of"),
        (("serch",), 2, "No such command"),
        (("search", "--channel", "3", "--bogus"), 2, "No such option"),
        (("search", "--cells", "few"), 2, "not a valid integer"),
        (("search", "--attention", "se"), 2, "'se' is not one of"),
        (("search", "--time-steps", "0"), 1, "`time_steps >= 1` must hold"),
        (("search", "--learning-rate", "inf"), 1, "must be a finite number"),
        (("search", "--device", "tpu"), 1, "Unknown device 'tpu'"),
        (("search", "--evaluations", "3"), 1, "belongs to the strategy random"),
        (("search", "--settings", "nowhere.toml"), 1, "There is no 'nowhere.toml'"),
        (("search", "--genotype", "nowhere.json"), 1, "There is no 'nowhere.json'"),
        (("search", "--resume", "--out", "nowhere"), 1, "There is no run folder 'nowhere'"),
        (("export", "--target", "akida"), 1, "Unknown target 'akida'; choose from onnx, loihi, nir, all"),
        (("export", "nowhere"), 1, "There is no run folder 'nowhere'"),
        (("deploy", "--run", "nowhere"), 1, "There is no run folder 'nowhere'"),
        (("deploy", "a", "--run", "b"), 2, "named twice"),
        (("inspect", "nowhere.net"), 1, "There is no 'nowhere.net'"),
        (("run", "nowhere.net", "--input", "nowhere.npy"), 1, "There is no 'nowhere.npy'"),
        (("compare", "a.net", "b.net", "--input", "nowhere.npy"), 1, "There is no 'nowhere.npy'"),
        (("fit", "nowhere"), 1, "There is no 'nowhere'"),
        (("report", "nowhere"), 1, "There is no run folder 'nowhere'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_at_once(tmp_path: Path, words: tuple[str, ...], code: int, said: str) -> None:
    ended, modules, heard = started(tmp_path, *words)
    assert (ended, said in heard) == (code, True), heard
    assert modules & HEAVY == set()
    own = {name.removeprefix("spikeport.") for name in modules if name.startswith("spikeport.")}
    assert own <= LIGHT


def test_an_unknown_price_list_waits_for_the_lists_alone(tmp_path: Path) -> None:
    code, modules, heard = started(tmp_path, "energy", "nowhere.net", "--profiles", "loihi3")
    assert code == 1 and "Unknown profile 'loihi3'" in heard
    assert modules & HEAVY == set()
    assert {name.removeprefix("spikeport.") for name in modules if name.startswith("spikeport.")} <= LIGHT | PRICES


def test_a_heavy_import_is_seen(tmp_path: Path) -> None:
    _, modules, _ = started(tmp_path, "doctor", "--quiet")
    assert modules & HEAVY
