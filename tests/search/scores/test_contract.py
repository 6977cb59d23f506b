"""What every score keeps: a finite number, the same for renamed nodes and reordered samples, no global randomness."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from spikeport.errors import InputError
from spikeport.search.scores.score import Context, batch_of
from spikeport.search.scores.table import BLIND, SCORES, WITH_DATA, score_in
from spikeport.search.scores.untrained import BATCH_NORM, spike_codes, untrained
from spikeport.search.space.genotype import Genotype
from spikeport.search.space.network import NetworkConfig, SpikingNetwork

pytestmark = pytest.mark.parametrize("name", SCORES)
NOTHING_LEFT = {"autost", "naswot", "sahd", "epe", "jacob_cov", "zico", "ntk", "isometry", "zen"}  # of a silent network


@pytest.fixture(scope="module")
def known() -> dict[str, float]:
    """Each score is computed once."""
    return {}


def first(name: str, genotype: Genotype, context: Context, known: dict[str, float]) -> float:
    if name not in known:
        known[name] = score_in(name, context)(genotype)
    return known[name]


def test_it_is_a_finite_number(name: str, genotype: Genotype, context: Context, known: dict[str, float]) -> None:
    score = score_in(name, context)
    assert (score.name, score.needs) == (name, "data" if name in WITH_DATA else "nothing")
    assert score.unit
    assert math.isfinite(first(name, genotype, context, known))


def test_renamed_nodes_give_the_same(
    name: str, genotype: Genotype, renamed: Genotype, context: Context, known: dict[str, float]
) -> None:
    """Exactly, for what is computed is the canonical form; sums over cells (SOPs) go by the given form, in float64."""
    assert renamed != genotype
    assert score_in(name, context)(renamed) == pytest.approx(first(name, genotype, context, known), rel=1e-12)


def test_the_order_of_the_batch_does_not_matter(
    name: str, genotype: Genotype, context: Context, known: dict[str, float]
) -> None:
    batch = context.batch
    assert batch is not None
    turned = batch_of(batch.images.numpy()[::-1].copy(), batch.labels.numpy()[::-1].copy())
    assert score_in(name, replace(context, batch=turned))(genotype) == first(name, genotype, context, known)


def test_global_random_numbers_are_neither_read_nor_moved(
    name: str, genotype: Genotype, context: Context, known: dict[str, float]
) -> None:
    before = first(name, genotype, context, known)
    torch.manual_seed(11)
    np.random.seed(11)  # noqa: NPY002 - what must not be read
    states = torch.get_rng_state(), str(np.random.get_state())  # noqa: NPY002
    assert score_in(name, context)(genotype) == before
    assert torch.equal(torch.get_rng_state(), states[0])
    assert str(np.random.get_state()) == states[1]  # noqa: NPY002


def test_another_seed_is_another_network(
    name: str, genotype: Genotype, context: Context, known: dict[str, float]
) -> None:
    found = score_in(name, replace(context, seed=4))(genotype)
    counts = ("parameters", "sops", "linear_regions")  # of the genotype alone; or all samples apart
    assert (found == first(name, genotype, context, known)) == (name in counts)


def test_a_silent_network_has_a_number(name: str, genotype: Genotype, context: Context) -> None:
    network = untrained(genotype, context)
    silence(network)
    assert context.batch is not None
    assert not any(code.any() for code in spike_codes(network, context.batch.images))
    if name in BLIND:
        found = BLIND[name][1](network, context.seed)
    elif name in WITH_DATA:
        found = WITH_DATA[name][1](network, context.batch, context.seed)
    else:
        return  # a count of the genotype
    assert not math.isnan(found)
    assert (found == -math.inf) == (name in NOTHING_LEFT)


def test_what_needs_data_says_so(name: str, genotype: Genotype, context: Context) -> None:
    blind = score_in(name, replace(context, batch=None))
    if name not in WITH_DATA:
        assert math.isfinite(blind(genotype))
        return
    with pytest.raises(InputError, match="needs a batch of training data, but its context has none"):
        blind(genotype)


def test_networks_that_read_events_and_have_attention(name: str, genotype: Genotype) -> None:
    """Frames of spikes, and gates made of spikes."""
    frames = (np.random.default_rng(0).random((8, 2, 2, 8, 8)) < 0.3).astype(np.uint8)
    config = NetworkConfig(
        channels=2, cells=3, time_steps=2, classes=3, input_shape=(2, 8, 8), attention="spike", reads="spikes"
    )
    context = Context(config=config, batch=batch_of(frames, np.arange(8) % 3))
    assert math.isfinite(score_in(name, context)(genotype))


def silence(network: SpikingNetwork) -> None:
    for module in network.modules():
        if isinstance(module, BATCH_NORM):
            torch.nn.init.zeros_(module.weight)
            torch.nn.init.constant_(module.bias, -1.0)
