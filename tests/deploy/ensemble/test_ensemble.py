"""Three small runs as one: by the chip's integers and in float, with and without a proof; what cannot be one."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from spikeport.commands.ensembles import shown
from spikeport.deploy.cost.prices import price_lists
from spikeport.deploy.ensemble.ensemble import Ensemble, ensemble
from spikeport.deploy.ensemble.members import members_of
from spikeport.deploy.ensemble.uncertainty import probabilities
from spikeport.deploy.mapping.capacity import find_chip
from spikeport.deploy.measure import entering
from spikeport.deploy.pipeline import deploy
from spikeport.deploy.settings import DeploySettings, EnsembleSettings, PriceSettings
from spikeport.errors import InputError
from spikeport.export.netx.writer import read_graph
from spikeport.export.simulate import simulate
from spikeport.export.targets import export
from spikeport.files import read_json, write_json
from spikeport.search.pipeline import run_search
from spikeport.search.runs import Run
from spikeport.search.settings.run import changed, choose
from spikeport.search.space.predict import predict
from spikeport.tests.cli.invoking import invoke
from spikeport.tests.search.quarters import quarters_npz

pytestmark = pytest.mark.training

TINY = choose(
    primitives="plain", channels=2, cells=3, train_epochs=3, batch_size=12, train_learning_rate=0.1, search_epochs=1
)


LISTS = price_lists(PriceSettings(profiles="loihi1-davies2018"))


def silent(sentence: str) -> None:
    pass


@pytest.fixture(scope="module")
def quarters(tmp_path_factory: pytest.TempPathFactory) -> str:
    return quarters_npz(tmp_path_factory.mktemp("quarters"), 200)


@pytest.fixture(scope="module")
def whole(quarters: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Candidate 001 is deployed, 002 exported, 003 neither; these are short names for the keys of their cells."""
    settings = changed(TINY, dataset=quarters, strategy="random", evaluations=3)
    run = run_search(settings, tmp_path_factory.mktemp("runs") / "random")
    for number, path in enumerate(sorted(path for path in run.candidate("").path.iterdir() if path.is_dir()), 1):
        path.rename(path.with_name(f"00{number}"))
    for name in ("001", "002"):
        export(run.candidate(name), "loihi", silent)
    deploy(run.candidate("001"), DeploySettings(lava=False, samples=4, lava_samples=4), silent)
    return run


@pytest.fixture(scope="module")
def found(whole: Run) -> Ensemble:
    return ensemble([whole], EnsembleSettings(candidates=True, choose="all"), out=whole.path / "all.html")


def test_who_answers_how_and_by_which_proof(found: Ensemble) -> None:
    assert [m.form for m in found.members] == ["chip", "chip", "float"]
    assert [None if m.proof is None else m.proof.kind for m in found.members] == ["open", None, None]
    assert any(note.startswith("002: no proof: it was not deployed; run `spikeport deploy") for note in found.notes)
    assert any(note.startswith("003 is not exported for loihi: it answers in float") for note in found.notes)


def test_the_chips_integers_answer_and_a_broken_weight_shows(whole: Run, tmp_path: Path) -> None:
    copy = Run(Path(shutil.copytree(whole.candidate("001").path, tmp_path / "copy")))
    (member,), dataset = members_of([copy], find_chip("loihi1"), LISTS, silent)
    folder = copy.export_folder("loihi")
    graph = read_graph(folder / "network.net")
    spikes = entering(member.network, folder)(dataset.test_images)
    meant = simulate(graph, {graph.inputs[0].name: spikes}).readout[-1].reshape(len(dataset.test_images), -1)
    scales = read_json(folder / "manifest.json")["integers"]["scales"]
    expected = probabilities(meant / (64.0 * scales[str(max(map(int, scales)))]["scale"]))

    def differing() -> int:
        return int((member.answers(dataset.test_images, silent) != expected).sum())

    assert differing() == 0 and len(np.unique(meant, axis=0)) > 10
    in_float = probabilities(predict(member.network, dataset.test_images).numpy())
    assert np.abs(expected - in_float).mean() < 0.05  # the same unit: logits
    model = onnx.load(folder / "twin.onnx")
    weight = [w for w in model.graph.initializer if w.name.startswith("weight/")][-1]  # of the readout
    weight.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(weight), weight.name))
    onnx.save(model, folder / "twin.onnx")
    assert differing() > 0


def test_costs_add_up(found: Ensemble) -> None:
    one, two, three = found.rows
    a, b, c = (judged.costs for judged in found.alone)
    assert a.energy_j and b.energy_j and c.energy_j is None
    assert two.judged.costs.energy_j == a.energy_j + b.energy_j
    assert two.judged.costs.latency_s == (a.latency_s or 0) + (b.latency_s or 0)
    assert two.judged.costs.latency_side_by_side_s == max(a.latency_s or 0, b.latency_s or 0)
    assert three.judged.costs.energy_j is None and three.side.why == "003 is not exported for loihi"
    assert one.side.cores and two.side.cores and two.side.cores > one.side.cores
    assert two.side.fits and two.side.why == f"{128 - two.side.cores} cores stay free"


def test_all_alike(found: Ensemble) -> None:
    whole = found.whole
    assert whole.weights == pytest.approx((1 / 3,) * 3) and whole.names == ("001", "002", "003")
    assert set(whole.judged.auroc) == {"total", "epistemic", "1 - highest probability"}
    assert "epistemic" not in found.alone[0].auroc
    parts = whole.judged.uncertainty
    assert parts["total"] == pytest.approx(parts["aleatoric"] + parts["epistemic"])
    assert found.best_by.endswith("which flatters it") and found.choosing_errors == ()


def test_chosen_by_images_that_none_has_learnt_from(whole: Run) -> None:
    found = ensemble([whole], EnsembleSettings(candidates=True))
    assert found.chosen_on == "16 validation images, which no member has learnt from"
    assert found.picks[0] == found.best and list(found.choosing_errors) == sorted(found.choosing_errors, reverse=True)
    assert any(note.startswith("only 16 images chose the members") for note in found.notes)
    half = ensemble([whole], EnsembleSettings(candidates=True, chosen_on="half", choose_by="accuracy"))
    assert half.chosen_on.startswith("20 images, half of the test split") and half.tested_on.startswith("20 images")


def test_page_and_words(found: Ensemble, whole: Run) -> None:
    text = (whole.path / "all.html").read_text("utf-8")
    for part in ("3 networks as one", "no proof", "The ensemble as it grew", "Epistemic", "003 is not exported"):
        assert part in text
    data, said = shown(found, whole.path / "all.html")
    plain = json.loads(json.dumps(data))
    assert [m["form"] for m in plain["members"]] == ["chip", "chip", "float"] and len(plain["ensembles"]) == 3
    words = [line for line in said if isinstance(line, str)]
    assert words[0].startswith("3 networks as one: ") and words[1].startswith(
        "Members answer as the chip's integers: 001"
    )
    assert any(line.startswith("002 beside 001 changes accuracy by ") for line in words)
    assert any(line.startswith("Whether they fit side by side is not known: 003") for line in words)


def test_a_member_whose_proof_failed_ends_with_3(
    whole: Run, monkeypatch: pytest.MonkeyPatch, capsys: Any, tmp_path: Path
) -> None:
    runs = [Path(shutil.copytree(whole.candidate(n).path, tmp_path / n)) for n in ("001", "003")]
    found = read_json(Run(runs[0]).equivalence)
    write_json(Run(runs[0]).equivalence, found | {"verdict": "fail"})
    assert invoke(monkeypatch, "ensemble", *runs, "--choose", "all", "--quiet") == 3
    assert "1: its deploy failed" in " ".join(capsys.readouterr().out.split())
    manifest = Run(runs[0]).export_folder("loihi") / "manifest.json"
    manifest.touch()
    (member,), _ = members_of([Run(runs[0])], find_chip("loihi1"), LISTS, silent)
    assert member.proof is None and member.no_proof.startswith("no proof: it was exported again after its deploy")


def test_what_is_refused(whole: Run, tmp_path: Path) -> None:
    one, two = whole.candidate("001"), whole.candidate("003")
    with pytest.raises(InputError, match="at least two members, but 1 is named"):
        ensemble([one])
    with pytest.raises(InputError, match=r"A run is one member, but .*001 is named twice; name it once"):
        ensemble([one, one])
    with pytest.raises(InputError, match=r"has no finished candidates, .* of trials only"):
        ensemble([one, two], EnsembleSettings(candidates=True))
    other = Run(Path(shutil.copytree(two.path, tmp_path / "seeds")))
    manifest = read_json(other.manifest)
    few = manifest["settings"]["training"] | {"validation_fraction": 0.01}
    write_json(other.manifest, manifest | {"settings": manifest["settings"] | {"seed": 2, "training": few}})
    with pytest.raises(InputError, match="none in common, for each seed keeps others apart; say --chosen-on half"):
        ensemble([two, other])
    assert ensemble([two, other], EnsembleSettings(chosen_on="half")).whole.names == ("003",)  # equal networks
    images = manifest["dataset"] | {"sha256": "f" * 64}
    write_json(other.manifest, manifest | {"dataset": images})
    with pytest.raises(InputError, match=r"trained on the same images, .*\(ffffffff\); name runs"):
        ensemble([two, other])
    write_json(other.manifest, manifest | {"settings": {"import": {}}})
    with pytest.raises(InputError, match="but seeds was imported, so that nobody knows which"):
        ensemble([two, other])
