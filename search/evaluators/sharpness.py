"""How sharp the surrogate gradient of each layer is, chosen while a network trains (DGS, SpikeDHS, NeurIPS 2022).

    ds/du = (a / 2) / (1 + (pi / 2 * a * u)^2)        u: distance of the membrane from its threshold; a: sharpness

Every few epochs each block of the network, with its weights and its neurons, is there five times, side by side:

    out = sum over k of softmax(beta)_k * block_k(x)          block_k has a + offset_k * step

For a pair of batches all begin with the weights as they are, and so give the same spikes. On the first batch each makes
one plain gradient step of its weights by its own surrogate, as it would alone; on the second beta makes one step. Over
all pairs the shares softmax(beta) are summed up, and a moves to the branch with the largest sum. The network itself,
its optimizer and its running averages are not touched: what comes of it are the numbers a. A forward pass does not
depend on them, so that nothing of this is in a network that is tested, exported or on a chip.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import cast

import torch
from spikingjelly.activation_based.functional import reset_net
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Adam

from ...errors import InputError
from ..machine.channels_last import channels_last
from ..space.genotype import NODES
from ..space.network import SpikingNetwork
from ..training.batches import Batch, Batches

USUAL = 2.0  # of the arctangent that all begin with (space/layers.py)
OFFSETS = (0, -2, -1, 1, 2)  # of the branches, in steps; of equals the first wins, so that a silent layer stays
LEAST, MOST = 1.0, 6.0  # as in the authors' code
BRANCH_RATE = 1e-3  # of Adam, of beta
MOST_PAIRS = 20  # of batches: one search passes each of five branches at most 40 times


class Sharpness(nn.Module):
    """a of every layer of neurons, in the order of `layers`; a buffer, so that a checkpoint has it."""

    numbers: Tensor

    def __init__(self, network: SpikingNetwork) -> None:
        super().__init__()
        self.layers = blocks_of(network)
        self.register_buffer("numbers", torch.full((len(self.layers),), USUAL, dtype=torch.float64))

    def act_on(self, network: nn.Module) -> None:
        """The neurons of a network have these numbers from now on."""
        for path, number in self.row().items():
            _sharpen(network.get_submodule(path), number)

    def row(self) -> dict[str, float]:
        """Path of the block -> a."""
        return dict(zip(self.layers, self.numbers.tolist(), strict=True))

    def move(self, network: SpikingNetwork, batches: Batches, rate: float, step: float) -> None:
        """Choose anew by the batches, the steps of weights being as long as `rate` says, from weights as they are.

        Raises InputError where there is no pair of batches.
        """
        if len(batches) < 2:
            raise InputError(
                f"A search of sharpness needs two batches, one for a step of the weights and one to judge it by, but "
                f"all {len(batches.order)} images are one; say a smaller --batch-size or leave --sharpness-every out."
            )
        with _in_branches(network, self.row(), step) as (twin, branches):
            sums = torch.zeros(len(self.layers), len(OFFSETS), dtype=torch.float64)
            optimizer = Adam([branch.beta for branch in branches], lr=BRANCH_RATE)
            for first in range(0, min(len(batches) - 1, 2 * MOST_PAIRS), 2):
                pair = [tuple(part.to(self.numbers.device) for part in batches[first + side]) for side in (0, 1)]
                _one_pair(twin, branches, optimizer, cast(list[Batch], pair), rate)
                sums += torch.stack([branch.shares().detach().cpu().double() for branch in branches])
        chosen = self.numbers.new_tensor([OFFSETS[best] for best in sums.argmax(1).tolist()])
        self.numbers.copy_((self.numbers + step * chosen).clamp(LEAST, MOST))


class Branches(nn.Module):
    """A block several times: takes what it takes, and gives the spikes to be expected of the branches."""

    def __init__(self, block: nn.Module, sharpness: float, step: float) -> None:
        super().__init__()
        self.start = [tensor.detach().clone() for tensor in block.parameters()]
        self.blocks = nn.ModuleList(deepcopy(block) for _ in OFFSETS)
        self.beta = nn.Parameter(torch.zeros(len(OFFSETS), device=self.start[0].device))
        for branch, offset in zip(self.blocks, OFFSETS, strict=True):
            _sharpen(branch, min(MOST, max(LEAST, sharpness + step * offset)))

    def shares(self) -> Tensor:
        """[branches], their sum is 1."""
        return torch.softmax(self.beta, 0)

    def forward(self, heard: Tensor) -> Tensor:
        pairs = zip(self.shares(), self.blocks, strict=True)
        return torch.stack([share * branch(heard) for share, branch in pairs]).sum(0)

    @torch.no_grad()
    def restart(self) -> None:
        """All with the weights of the network."""
        for branch in self.blocks:
            for parameter, value in zip(branch.parameters(), self.start, strict=True):
                parameter.copy_(value)

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """One step of each by its gradient, which in the sum has only its share."""
        for share, branch in zip(self.shares(), self.blocks, strict=True):
            for parameter in branch.parameters():
                if parameter.grad is not None:
                    parameter.sub_(rate / share * parameter.grad)


def blocks_of(network: SpikingNetwork) -> list[str]:
    """The stem, and of every cell both preprocesses and the nodes. Gates made of spikes keep the usual surrogate."""
    names = ["p0", "p1", *(f"n{node + 1}" for node in range(NODES))]
    return ["stem", *(f"cells.{place}.{name}" for place in range(len(network.cells)) for name in names)]


def _sharpen(block: nn.Module, sharpness: float) -> None:
    surrogate = cast(nn.Module, cast(nn.Module, block.lif).surrogate_function)
    surrogate.alpha = sharpness  # type: ignore[assignment]  # a number to SpikingJelly, which torch does not know


@contextmanager
def _in_branches(
    network: SpikingNetwork, sharpness: dict[str, float], step: float
) -> Iterator[tuple[nn.Module, list[Branches]]]:
    """A network with the same weights whose blocks are branches."""
    device = next(network.parameters()).device
    with torch.random.fork_rng(devices=[]):  # weights that are overwritten at once are drawn beside all others
        twin = SpikingNetwork(network.genotype, network.config)
    twin.load_state_dict(network.state_dict())
    twin.to(device).train()
    branches: list[Branches] = []
    for path, number in sharpness.items():
        block = Branches(twin.get_submodule(path), number, step)
        parent, _, name = path.rpartition(".")
        setattr(twin.get_submodule(parent), name, block)
        branches.append(block)
    with channels_last(twin):
        yield twin, branches


def _one_pair(twin: nn.Module, branches: list[Branches], optimizer: Adam, pair: list[Batch], rate: float) -> None:
    (images, labels), (other_images, other_labels) = pair
    for branch in branches:
        branch.restart()
    _backward(twin, images, labels)
    for branch in branches:
        branch.step(rate)
    _backward(twin, other_images, other_labels)
    optimizer.step()


def _backward(twin: nn.Module, images: Tensor, labels: Tensor) -> None:
    twin.zero_grad(set_to_none=True)
    reset_net(twin)
    loss: Tensor = cross_entropy(twin(images), labels)
    loss.backward()  # type: ignore[no-untyped-call]
