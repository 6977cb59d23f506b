"""A model of made-up measurements finds the residual that they were made with; files say what is wrong with them."""

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from spikeport.deploy.cost.genotypes.cost import AtRates, Cost, GenotypeCost, Size
from spikeport.deploy.cost.genotypes.samples import read_samples
from spikeport.deploy.cost.genotypes.stacked import Measured, analytical, fit, load, save
from spikeport.errors import InputError
from spikeport.search.space.genotype import random_genotype, to_dict
from spikeport.search.space.network import NetworkConfig
from spikeport.tests.cli.invoking import invoke

PRICES = "loihi1-davies2018"


def made_up(rng: np.random.Generator) -> Cost:
    """A cost of no network: every count is drawn by itself."""

    def between(low: float, high: float) -> int:
        return round(math.exp(rng.uniform(math.log(low), math.log(high))))

    rates = AtRates(low=1.0, usual=2.0, high=3.0)
    size = Size(
        levels=between(5, 40),
        relays=between(100, 5000),
        neurons=between(1000, 50_000),
        synapses=between(10_000, 10**7),
        sops=replace(rates, usual=float(between(10_000, 10**7))),
    )
    latency = replace(rates, usual=rng.uniform(1e-4, 1e-2))
    return Cost(size=size, cores=between(4, 200), chips=1, energy_j=None, latency_s=latency, moved={}, reason="")


def samples(number: int, residual: float = 0.5, noise: float = 0.0) -> list[Measured]:
    """Measured: twice the analytical latency, times (synapses / 1e5) ^ residual, times noise."""
    rng = np.random.default_rng(2)
    found = []
    for i in range(number):
        cost = made_up(rng)
        value = 2 * analytical("latency_s", cost) * (cost.size.synapses / 1e5) ** residual
        found.append(Measured(network=f"n{i}", cost=cost, value=value * math.exp(noise * rng.normal())))
    return found


def test_the_residual_is_found() -> None:
    model = fit(samples(40), "latency_s", PRICES)
    weights = {name: one.weight / one.scale for name, one in model.weights.items()}  # per unit of the logarithm
    assert weights.pop("synapses") == pytest.approx(0.5, abs=0.01)
    assert max(map(abs, weights.values())) < 0.01
    unseen = samples(60)[40:]
    for one in unseen:
        assert model.predict(one.cost) == pytest.approx(one.value, rel=0.02)
    assert model.judged["stacked"].rank > 0.99
    assert model.judged["stacked"].mape < 2 < 20 < min(model.judged[name].mape for name in ("factor", "analytical"))


def test_where_there_is_no_residual_a_factor_is_enough() -> None:
    model = fit(samples(40, residual=0.0), "latency_s", PRICES)
    assert model.judged["factor"].mape == pytest.approx(0.0, abs=1e-9)
    assert model.judged["factor"].rank == model.judged["analytical"].rank == pytest.approx(1.0)
    assert model.judged["analytical"].mape == pytest.approx(50.0)


def test_networks_are_judged_unseen() -> None:
    """Numbers without any order: a model that saw them would rank them, one that did not cannot."""
    rng = np.random.default_rng(0)
    drawn = [replace(one, value=math.exp(rng.normal())) for one in samples(12)]
    model = fit(drawn, "latency_s", PRICES)
    assert model.judged["stacked"].rank < 0.6


def test_measurements_of_one_network_are_their_mean() -> None:
    once = samples(8)
    twice = [replace(one, value=factor * one.value) for one in once for factor in (0.5, 2.0)]
    assert fit(twice, "latency_s", PRICES).intercept == pytest.approx(fit(once, "latency_s", PRICES).intercept)
    assert fit(twice, "latency_s", PRICES).networks == 8


def test_a_file_holds_the_model(tmp_path: Path) -> None:
    model = fit(samples(10, noise=0.1), "latency_s", PRICES)
    save(tmp_path / "cost.json", model)
    assert load(tmp_path / "cost.json") == model


def test_another_price_list_is_refused() -> None:
    model = fit(samples(10), "latency_s", PRICES)
    config = NetworkConfig(channels=2, cells=3, time_steps=2, classes=3, input_shape=(1, 8, 8))
    genotype = random_genotype(np.random.default_rng(0), "plain")
    with pytest.raises(InputError, match="price list it was fitted on, loihi1-davies2018, but got loihi1-sanafe"):
        model.of(genotype, GenotypeCost(config=config, profile="loihi1-sanafe"))
    assert model.of(genotype, GenotypeCost(config=config)) > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "is no cost model of this version; write one with"),
        ({"weights": {}}, "is a damaged cost model .'levels'."),
        ({"intercept": math.inf}, "is a damaged cost model .*are no numbers of a model"),
        ({"judged": 3}, "is a damaged cost model"),
    ],
)
def test_a_damaged_model_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = tmp_path / "cost.json"
    save(path, fit(samples(6), "latency_s", PRICES))
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=message):
        load(path)


def test_too_few_and_equal_networks_are_refused() -> None:
    with pytest.raises(InputError, match=r"At least 4 different networks must be measured .* but there are 3"):
        fit(samples(3), "latency_s", PRICES)
    alike = [replace(one, value=1.0) for one in samples(5)]
    with pytest.raises(InputError, match="must differ in what was measured"):
        fit(alike, "latency_s", PRICES)
    with pytest.raises(InputError, match="must say what energy_j is, but has none for this network; choose"):
        fit(samples(5), "energy_j", PRICES)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV file and four networks beside it, one of them as a run."""
    folder = tmp_path_factory.mktemp("measured")
    lines = ["machine,network,latency_s"]
    for number in range(4):
        config = NetworkConfig(channels=2 + number % 2, cells=3, time_steps=2, classes=3, input_shape=(1, 8, 8))
        genotype = random_genotype(np.random.default_rng(number), "plain")
        name = f"n{number}.json" if number else "run/model/config.json"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps({"genotype": to_dict(genotype), "network": asdict(config)}))
        lines.append(f"mine,{name if number else 'run'},{1e-3 * (1 + number)}")
    (folder / "samples.csv").write_text("\n".join([*lines, ""]))
    return folder / "samples.csv"


def test_the_command_writes_a_model(
    measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mine.json"
    assert invoke(monkeypatch, "fit-cost", measured, "--out", out, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["networks"] == 4
    assert set(told["judged"]) == {"analytical", "factor", "stacked"}
    assert asdict(load(out)) == {key: value for key, value in told.items() if key != "model"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must have the columns network and latency_s in its first line, but has none"),
        ("network,energy_j\nrun,1\n", "in its first line, but has network, energy_j"),
        ("network,latency_s\nrun\n", "line 2 must have 2 columns as the first line, but has 1"),
        ("network,latency_s\n\nrun,-1\n", "line 3: `latency_s > 0` must hold, but is '-1'"),
        ("network,latency_s\nrun,soon\n", "line 2: `latency_s > 0` must hold, but is 'soon'"),
        ("network,latency_s\nrun,nan\n", "line 2: `latency_s > 0` must hold, but is 'nan'"),
        ("network,latency_s\nnone.json,1\n", "line 2: There is no"),
        ("network,latency_s\nsamples.csv,1\n", "line 2: .*samples.csv"),
    ],
)
def test_a_file_that_is_wrong_is_told_by_its_line(measured: Path, text: str, message: str) -> None:
    path = measured.with_name("wrong.csv")
    path.write_text(text)
    with pytest.raises(InputError, match=f"wrong.csv'.* ?{message}"):
        read_samples(path, "latency_s", PRICES)
