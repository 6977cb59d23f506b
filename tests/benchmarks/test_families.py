"""Families are compared by numbers that are known; what each would run is a search that there is."""

from pathlib import Path

import numpy as np
import pytest

from spikeport.benchmarks import families
from spikeport.benchmarks.on_searches.recordings import deal
from spikeport.files import write_json
from spikeport.search.data.events import read_events
from spikeport.search.runs import Run
from spikeport.tests.cli.invoking import invoke


def put(out: Path, family: str, seed: int, accuracy: float, sops: float = 100.0) -> None:
    run = Run(families.folder_of(out, family, seed))
    run.metrics.parent.mkdir(parents=True, exist_ok=True)
    write_json(run.metrics, {"test_accuracy": accuracy, "sops_per_inference": sops})
    write_json(run.path.with_suffix(".seconds.json"), {"seconds": 7.0})


def test_found_cells_stand_beside_the_random_median(tmp_path: Path) -> None:
    for number, accuracy in enumerate((0.5, 0.6, 0.7, 0.8, 0.9)):
        put(tmp_path, families.RANDOM, families.FIRST_RANDOM + number, accuracy)
    for seed, accuracy in enumerate((0.84, 0.86, 0.85)):
        put(tmp_path, "darts", seed, accuracy, sops=50.0)
    there = {
        (family, seed): families.result(tmp_path, family, seed)
        for family, seed in [*((families.RANDOM, 100 + n) for n in range(5)), *(("darts", n) for n in range(3))]
    }
    found = families.compared(there)
    row = found["families"]["darts"]
    assert (found["random"]["median"], row["above_median"]) == (0.7, pytest.approx(0.15))
    assert (row["random_better"], row["sops_against_median"], row["seconds"]) == (0.2, 0.5, 7.0)
    own, drawn = 0.01**2 / 3, (families.MEDIAN * found["random"]["deviation"]) ** 2 / 5
    assert row["standard_error"] == pytest.approx((own + drawn) ** 0.5)
    assert "darts" in families.shown(found) and "+0.1500" in families.shown(found)
    for seed, accuracy in enumerate((0.86, 0.84)):  # seed 2 is missing
        there["sharpness", seed] = {"accuracy": accuracy, "sops": 50.0, "seconds": 7.0}
    found = families.compared(there)
    against = found["families"]["sharpness"]["against_darts"]
    assert against == {"seeds": 2, "difference": pytest.approx(0.0), "standard_error": pytest.approx(0.02)}
    assert found["families"]["darts"]["against_darts"] is None and "+- 0.0200" in families.shown(found)


BENCHES = {"digits": families.DIGITS, "recordings": families.RECORDINGS}


@pytest.mark.parametrize(
    ("bench", "family"),
    [(name, family) for name, one in BENCHES.items() for family in (*one.families, families.RANDOM)],
)
def test_every_family_is_a_search(
    bench: str, family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its words are understood, so that what fails is the data set alone."""
    words = families.words_of(BENCHES[bench], family, 3)
    words[words.index("--dataset") + 1] = "npz:nowhere.npz"
    assert invoke(monkeypatch, "search", *words, "--out", tmp_path / "run") == 1
    assert "There is no 'nowhere.npz'" in capsys.readouterr().err


def test_recordings_are_dealt_anew(tmp_path: Path) -> None:
    """Every event of every recording is there once, in its order, with its label."""
    t, offsets, labels = np.arange(9), np.array([0, 2, 2, 5]), np.array([4, 5, 6])
    for name, first in (("one.npz", 0), ("other.npz", 10)):
        arrays = {"t_us": t[:5] + first, "x": t[:5], "y": t[:5] + 1, "p": t[:5] % 2}
        np.savez(tmp_path / name, **arrays, offsets=offsets, labels=labels + first)
    deal(tmp_path / "one.npz", tmp_path / "other.npz", tmp_path / "out", to_train=4)
    train, test = (read_events(tmp_path / "out" / f"recordings_{name}.npz") for name in ("train", "test"))
    assert (train.labels.tolist(), test.labels.tolist()) == ([4, 5, 6, 14], [15, 16])
    assert (train.offsets.tolist(), test.offsets.tolist()) == ([0, 2, 2, 5, 7], [0, 0, 3])
    assert train.t.tolist() == [0, 1, 2, 3, 4, 10, 11] and test.t.tolist() == [12, 13, 14]
    assert (test.x.tolist(), test.y.tolist(), test.p.tolist()) == ([2, 3, 4], [3, 4, 5], [0, 1, 0])
