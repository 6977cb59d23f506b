"""Each score's defining terms, on cases that can be redone on paper."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from spikeport.errors import InputError
from spikeport.search.data.datasets import Dataset
from spikeport.search.scores.codes import agreement, distinct, log_determinant, sparse_agreement
from spikeport.search.scores.counts import WEIGHTS, autost_of, sops_at, sops_initial
from spikeport.search.scores.dissimilarity import dissimilarity
from spikeport.search.scores.isometry import gain_score, isometry, log_gains
from spikeport.search.scores.jacobians import SMALL, class_score, eigenvalue_score
from spikeport.search.scores.ntk import log_condition
from spikeport.search.scores.saliency import fisher, grad_norm, information, saliency
from spikeport.search.scores.score import Context, batch_of, context_of
from spikeport.search.scores.synflow import linearised, synflow
from spikeport.search.scores.table import score_in
from spikeport.search.scores.untrained import loss_gradients, noise, untrained, weights_of
from spikeport.search.scores.zen import log_sigma, zen
from spikeport.search.scores.zico import consistency
from spikeport.search.space.genotype import Genotype, Layer, random_genotype
from spikeport.search.space.network import NetworkConfig, SpikingNetwork, count_parameters
from spikeport.search.space.primitives import PRIMITIVES, spiking_primitives


def t(*rows: object) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize("attention", ["none", "eca", "spike"])
def test_parameters_are_those_of_the_network(context: Context, attention: str) -> None:
    config = replace(context.config, attention=attention, cells=5, input_shape=(3, 8, 8), reads="spikes")
    path = tuple(Layer(kind, width) for kind, width in (("normal", 0.5), ("reduce", 1.0), *(("normal", 1.0),) * 3))
    for seed in range(3):
        for primitives, layers in (("darts", None), ("plain", path)):
            genotype = replace(random_genotype(np.random.default_rng(seed), primitives), layers=layers)
            wanted = count_parameters(SpikingNetwork(genotype, config))
            assert score_in("parameters", replace(context, config=config))(genotype) == wanted


@pytest.mark.parametrize("primitives", PRIMITIVES)
def test_parameters_of_kernels_of_one_row(context: Context, primitives: str) -> None:
    config = replace(context.config, input_shape=(3, 1, 16))
    genotype = random_genotype(np.random.default_rng(0), primitives)
    found = score_in("parameters", replace(context, config=config))(genotype)
    assert found == count_parameters(SpikingNetwork(genotype, config))


def test_parameters_of_a_cell_for_each_layer(context: Context) -> None:
    drawn = [random_genotype(np.random.default_rng(seed), "plain") for seed in range(4)]
    genotype = replace(drawn[0], cells=tuple(one.normal for one in drawn[1:]))
    wanted = count_parameters(SpikingNetwork(genotype, context.config))
    assert score_in("parameters", context)(genotype) == wanted != score_in("parameters", context)(drawn[0])


def test_every_primitive_has_weights() -> None:
    assert set(WEIGHTS) == {name for primitives in PRIMITIVES for name in spiking_primitives(primitives)}


def test_sops_grow_with_the_rate(genotype: Genotype, config: NetworkConfig) -> None:
    assert sops_at(genotype, config, 0.4) == pytest.approx(2 * sops_at(genotype, config, 0.2))


def test_initial_sops_are_those_of_the_spikes(genotype: Genotype, context: Context) -> None:
    """If every neuron spikes in every step, they are the SOPs at rate 1; if none does, there are none."""
    network = untrained(genotype, context)
    assert context.batch is not None
    for bias, rate in ((5.0, 1.0), (-5.0, 0.0)):
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                torch.nn.init.zeros_(module.weight)
                torch.nn.init.constant_(module.bias, bias)
        found = sops_initial(network, context.batch, 0)
        assert found == pytest.approx(sops_at(network.genotype, context.config, rate))


def test_autost_is_operations_and_one_over_naswot() -> None:
    assert autost_of(2e9, 4.0) == 2.25
    assert autost_of(2e9, -math.inf) == -math.inf


def test_naswot_counts_bits_in_which_samples_agree() -> None:
    codes = [t([1, 0], [1, 1]), t([0, 0], [0, 0])]  # two calls of two neurons, which differ in one bit of four
    assert torch.equal(agreement(codes), t([4, 3], [3, 4]))
    assert log_determinant(agreement(codes)) == pytest.approx(math.log(7))
    assert log_determinant(agreement([t([1, 0], [1, 0])])) == -math.inf  # alike


def test_sahd_divides_by_the_distance_that_is_expected() -> None:
    code = t([1, 0, 0, 0], [0, 1, 0, 0])  # rates 1/4: e = 2 * 3/16, and 2 of 4 bits differ
    expected = 0.375 + 1e-3
    off = 1 - 0.5 * 0.5 / expected
    assert torch.allclose(sparse_agreement([code]), t([1, off], [off, 1]))
    silent = torch.zeros(2, 4, dtype=torch.float64)
    assert torch.allclose(
        sparse_agreement([code, silent]), t([1, (1 + off) / 2], [(1 + off) / 2, 1])
    )  # mean over calls


def test_sahd_expects_a_half_at_any_rate_and_naswot_does_not() -> None:
    rng = torch.Generator().manual_seed(0)
    for rate in (0.02, 0.2, 0.5):
        code = (torch.rand(2, 20_000, generator=rng) < rate).double()
        assert float(sparse_agreement([code])[0, 1]) == pytest.approx(0.5, abs=0.03)
        assert float(agreement([code])[0, 1]) / 20_000 == pytest.approx(1 - 2 * rate * (1 - rate), abs=0.03)


def test_linear_regions_are_different_codes() -> None:
    assert distinct([t([1, 0], [1, 0], [0, 1]), t([0], [0], [0])]) == 2
    assert distinct([t([1, 0], [1, 0], [0, 1]), t([0], [1], [0])]) == 3


def test_rdm_sums_distances_and_takes_the_mean_over_calls() -> None:
    codes = [t([1, 0], [0, 1], [0, 0]), t([0], [0], [0])]  # distances 2, 1, 1; and none
    assert dissimilarity(codes, normalised=False) == 2.0
    assert dissimilarity(codes, normalised=True) == pytest.approx((4 / 3 / 2 + 0) / 2)
    wide = [code.repeat(1, 3) for code in codes]  # three times as many neurons that do the same
    assert dissimilarity(wide, normalised=False) == 6.0
    assert dissimilarity(wide, normalised=True) == dissimilarity(codes, normalised=True)


def test_epe_is_of_pairs_of_one_class() -> None:
    jacobians = t([1, -1, 0], [2, -2, 0], [1, 1, -2])  # correlations 1, 0, 0
    one = abs(math.log(1 + SMALL))
    none = abs(math.log(SMALL))
    assert class_score(jacobians, torch.tensor([0, 0, 1])) == pytest.approx(one, rel=1e-6)
    assert class_score(jacobians, torch.tensor([0, 1, 0])) == pytest.approx(none, rel=1e-6)
    assert class_score(jacobians, torch.tensor([0, 0, 0])) == pytest.approx(2 * none - one, rel=1e-6)


def test_epe_of_many_classes_is_of_differences() -> None:
    labels = torch.arange(101).repeat_interleave(2)
    jacobians = t([1, -1, 0], [1, 1, -2]).repeat(101, 1)  # every class the same
    assert class_score(jacobians, labels) == pytest.approx(0.0, abs=1e-9)
    jacobians[1] = jacobians[0]  # one class is now log(1), the others log(1e-5)
    assert class_score(jacobians, labels) == pytest.approx(2 / 101 * abs(math.log(SMALL)), rel=1e-5)


def test_jacob_cov_is_of_eigenvalues() -> None:
    apart, alike = t([1, -1, 0], [1, 1, -2]), t([1, -1, 0], [2, -2, 0])  # eigenvalues 1, 1 and 0, 2

    def term(v: float) -> float:
        return math.log(v + SMALL) + 1 / (v + SMALL)

    assert eigenvalue_score(apart) == pytest.approx(-2 * term(1))
    assert eigenvalue_score(alike) == pytest.approx(-term(0) - term(2), rel=1e-6)
    assert eigenvalue_score(t([1, -1], [1, 1])) == -math.inf  # nothing changes with the second sample's pixels


def test_gradients_are_those_of_the_loss(genotype: Genotype, context: Context) -> None:
    """Of the readout's weights they are known: softmax minus one-hot, times the features."""
    network, batch = untrained(genotype, context), context.batch
    assert batch is not None
    features: list[Tensor] = []
    network.readout.register_forward_pre_hook(lambda module, inputs: features.append(inputs[0].mean(0)))
    gradients = loss_gradients(network, batch)
    wrong = torch.softmax(network.readout(features[0]), 1) - nn.functional.one_hot(batch.labels, 3)
    wanted = (wrong.T @ features[0]).detach() / len(batch)
    assert torch.allclose(gradients[-1], wanted)
    norms = sum(float(gradient.norm()) for gradient in gradients)
    assert grad_norm(network, batch, 0) == pytest.approx(norms)
    assert len(gradients) == len(weights_of(network))


def test_snip_is_weights_times_gradients() -> None:
    weights = [nn.Parameter(t([1, -2])), nn.Parameter(t([3]))]
    assert saliency(weights, [t([0.5, 0.5]), t([-1])]) == 0.5 + 1.0 + 3.0


def test_fisher_squares_sums_over_steps_and_places() -> None:
    current, gradient = torch.ones(2, 2, 1, 1, 2), torch.zeros(2, 2, 1, 1, 2)  # [T, N, C, H, W]
    gradient[:, 0] = t([1, 2], [3, 4]).view(2, 1, 1, 2)  # of the first sample: 10 in all
    assert information(current.double(), gradient.double()) == 0.5 * (100 + 0) / 2
    gradient[1, 0] = -gradient[0, 0]  # what cancels is no information
    assert information(current.double(), gradient.double()) == 0.0


def test_fisher_reads_currents_and_not_spikes(genotype: Genotype, context: Context) -> None:
    """Currents before a batch norm may have any scale: gradients are as much smaller."""
    network, batch = untrained(genotype, context), context.batch
    assert batch is not None
    before = fisher(network, batch, 0)
    with torch.no_grad():
        network.stem.conv.weight.mul_(1000)
        network.stem.norm.eps *= 1000**2
    assert fisher(network, batch, 0) == pytest.approx(before)


def test_synflow_sums_over_paths(genotype: Genotype, context: Context) -> None:
    """R is linear in the weights of each layer, so that the sum over one layer is R; in the readout it is seen."""
    network = linearised(untrained(genotype, context))
    images = torch.ones(1, 1, 4, 4, dtype=torch.float64)
    whole = network(images).sum()
    wanted, bias = whole.item(), network.readout.bias.sum().item()
    (gradient,) = torch.autograd.grad(whole, network.readout.weight)
    assert (network.readout.weight * gradient).sum().item() == pytest.approx(wanted - bias)
    assert network(2 * images).sum().item() - bias == pytest.approx(2 * (wanted - bias))  # no neuron is left


def test_synflow_grows_with_every_layer(genotype: Genotype, context: Context) -> None:
    before = synflow(untrained(genotype, context), 0)
    doubled = untrained(genotype, context)
    with torch.no_grad():
        doubled.stem.conv.weight.mul_(-2)  # the sign does not matter
    assert synflow(doubled, 0) == pytest.approx(before + math.log(2))


def test_zico_is_means_over_deviations() -> None:
    first = t([1, 2, 5], [3, -2, 5])  # two batches: means 2, 2; deviations 1, 2; the last one has none
    second = t([0, 0], [0, 0])  # a layer without gradients
    assert consistency([first, second]) == pytest.approx(math.log(2 / 1 + 2 / 2))
    assert consistency([second]) == -math.inf


def test_zen_has_both_terms(genotype: Genotype, context: Context) -> None:
    current = torch.stack([t([1, 3], [1, 3]), t([0, 0], [0, 0])])[None]  # [1, C, H, W]: variances 1 and 0
    assert log_sigma(current) == pytest.approx(0.5 * math.log(0.5 + 1e-5))
    before = zen(untrained(genotype, context), 0)
    louder = untrained(genotype, context)
    with torch.no_grad():  # a readout's weights are drawn anew, the norms' are not: fewer spikes, other differences
        for module in louder.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.bias.fill_(0.5)
    assert zen(louder, 0) != before


def test_ntk_is_the_ratio_of_eigenvalues() -> None:
    assert log_condition(t([2, 0], [0, 1])) == pytest.approx(-math.log(4))
    assert log_condition(t([1, 0], [0, 1])) == 0.0  # the best there is
    assert log_condition(t([1, 1], [1, 1])) == -math.inf


def test_isometry_wants_gains_of_one() -> None:
    x = torch.ones(1, 1, 1, 1000, dtype=torch.float64, requires_grad=True)
    assert log_gains((x,), 3 * x, noise(0)) == pytest.approx([math.log(9)] * 8)
    assert gain_score([0.0, 0.0]) == 0.0
    assert gain_score([1.0, 3.0]) == -(2**2) - 1
    assert gain_score([0.0, -math.inf]) == -math.inf


def test_isometry_sees_each_cell_by_itself(genotype: Genotype, context: Context) -> None:
    """What stands before a cell, and how much of it, does not matter but for its spikes."""
    network, batch = untrained(genotype, context), context.batch
    assert batch is not None
    before = isometry(network, batch, 0)
    with torch.no_grad():
        network.stem.conv.weight.mul_(1000)
        network.stem.norm.eps *= 1000**2
        network.readout.weight.mul_(1000)
    assert isometry(network, batch, 0) == pytest.approx(before)


def test_a_batch_is_drawn_from_the_train_split(blobs: Dataset, config: NetworkConfig) -> None:
    batch = context_of(blobs, config, samples=10_000).batch
    assert batch is not None and len(batch) == 48
    assert [len(half) for half in batch.part(0, 7).halves()] == [3, 3]
    assert sorted(batch.labels.tolist()) == sorted(blobs.train_labels.tolist())


def test_a_batch_that_is_too_small_is_refused(blobs: Dataset, config: NetworkConfig) -> None:
    with pytest.raises(InputError, match="must have at least 4 samples and a label for each, but has 3 samples and 3"):
        context_of(blobs, config, samples=3)
    with pytest.raises(InputError, match="but has 5 samples and 4 labels"):
        batch_of(np.zeros((5, 1, 2, 2)), np.zeros(4))


def test_an_unknown_score_is_refused(context: Context) -> None:
    with pytest.raises(InputError, match="Unknown score 'grasp'; choose from parameters, sops, synflow, zen"):
        score_in("grasp", context)
