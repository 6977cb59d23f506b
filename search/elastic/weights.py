"""The weights that all networks of a space share, after Once-for-all (arXiv 1908.09791) and NAT (arXiv 2005.05859).

A network of a genotype takes its weights from here, so that what is asked of it is asked of the network itself:

    a small kernel   the centre of the large one of its family, its 9 taps times a matrix that is learned for each
                     edge (the identity at the start): 3x3 of 5x5, of plain, separable and dilated convolutions;
                    of signals of one row its 3 taps
    a narrow cell    the first channels of the wide one; where maps of four nodes lie side by side the first of each
    everything else  under its own name: the stem, what a cell does with its inputs, norms and readout

An edge has weights for each pair of a source and a node. Norms have shared scales and biases; their running means and
variances are a network's own, for no two networks have the same: they are counted anew (training/averaging.py).
Of a factorized reduce the first channels are taken, too, though some of them read the other tap then.
"""

import re
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ...errors import InputError
from ..settings.network import PrimitiveSet
from ..space.genotype import INPUTS, NODES, Edge, Genotype, Layer
from ..space.layout import CellPlan
from ..space.network import NetworkConfig, SpikingNetwork
from ..space.primitives import MAX_POOL, PRIMITIVES, to_one_row
from ..supernet.supernet import EDGES

OF_AN_EDGE = re.compile(r"cells\.(\d+)\.n(\d)\.edges\.(\d)\.(.+)")
READS_CELLS = re.compile(r"cells\.(\d+)\.p([01])\.conv\.weight")
SMALL_OF = "small"  # how the name ends of what makes a small kernel of the centre of a large one
DOT = "/"  # in names of parameters, which take no dot


def family_of(primitive: str) -> str:
    """conv_3x3 and conv_5x5 are conv."""
    return primitive.rpartition("_")[0]


def shared_name(place: int, edge: Edge, rest: str) -> str:
    """Of a weight of an edge."""
    return f"cells.{place}.edge.{edge.source}.{edge.node}.{family_of(edge.primitive)}.{rest}"


class ElasticWeights(nn.Module):
    """Of the networks of `config` whose path is `layers`, each of their cells at most as wide as it says.

    Raises InputError where a path may be narrow and the network has attention, whose weights know no widths.
    """

    def __init__(
        self, primitives: PrimitiveSet, config: NetworkConfig, layers: tuple[Layer, ...], *, narrow: bool = False
    ) -> None:
        super().__init__()
        if narrow and config.attention != "none":
            raise InputError(
                f"Attention has no weights for cells of several widths, but the network has {config.attention}; leave "
                "--attention or --elastic-widths out."
            )
        self.primitives, self.config, self.layers = primitives, config, layers
        self.plan = config.plan(layers)
        every = SpikingNetwork(_of_one_primitive(primitives, layers, MAX_POOL), config)  # which has no weights
        shared = {name: value.detach() for name, value in every.named_parameters()}
        for place, cell in enumerate(self.plan):
            for node, source in EDGES:
                shared |= _edge_weights(primitives, config, place, cell, (node, source))
        self.shared = nn.ParameterDict({name.replace(".", DOT): value for name, value in shared.items()})

    def weights_of(self, network: SpikingNetwork) -> dict[str, Tensor]:
        """Name of each of the network's parameters -> its part of the shared ones, by which gradients reach these."""
        shapes = {name: value.shape for name, value in network.named_parameters()}
        return {name: self._part(network, name, shape) for name, shape in shapes.items()}

    def answers(self, network: SpikingNetwork, images: Tensor) -> Tensor:
        """Logits of a network with the shared weights in place of its own."""
        return cast(Tensor, functional_call(network, self.weights_of(network), (images,)))

    def network(self, genotype: Genotype) -> SpikingNetwork:
        """With weights of its own, equal to the shared ones; its norms have counted nothing yet."""
        network = SpikingNetwork(genotype, self.config)
        found = {name: value.detach().clone() for name, value in self.weights_of(network).items()}
        network.load_state_dict({**network.state_dict(), **found})
        return network.to(next(self.parameters()).device)

    def _part(self, network: SpikingNetwork, name: str, shape: torch.Size) -> Tensor:
        of_an_edge = OF_AN_EDGE.fullmatch(name)
        if of_an_edge is None:
            return _cut(self._of(name), shape, self._side_by_side(name))
        place, node, number, rest = int(of_an_edge[1]), int(of_an_edge[2]) - 1, int(of_an_edge[3]), of_an_edge[4]
        edge = network.genotype.incoming(network.plan[place].kind, node, place)[number]
        whole = _cut(self._of(shared_name(place, edge, rest)), shape, 1)
        if whole.shape == shape:
            return whole
        rim = (whole.shape[-1] - shape[-1]) // 2
        rows = whole if shape[-2] == whole.shape[-2] else whole[..., rim:-rim, :]
        centre = rows[..., rim:-rim].flatten(-2)
        return (centre @ self._of(f"{shared_name(place, edge, rest)}.{SMALL_OF}")).reshape(shape)

    def _of(self, name: str) -> Tensor:
        return cast(Tensor, self.shared[name.replace(".", DOT)])

    def _side_by_side(self, name: str) -> int:
        """Of how many nodes the maps lie side by side that a weight reads."""
        reads = READS_CELLS.fullmatch(name)
        before = 2 - int(reads[2]) if reads else 0  # p1 reads the cell before, p0 that before it
        of_a_cell = name == "readout.weight" or (reads is not None and int(reads[1]) >= before)
        return NODES if of_a_cell else 1


def _cut(whole: Tensor, shape: torch.Size, side_by_side: int) -> Tensor:
    """The first channels of a weight [O, I, ...] or [O]; its taps stay."""
    part = whole[: shape[0]]
    if len(shape) > 1 and part.shape[1] != shape[1]:
        groups = part.reshape(len(part), side_by_side, -1, *part.shape[2:])
        part = groups[:, :, : shape[1] // side_by_side].flatten(1, 2)
    return part


def _edge_weights(
    primitives: PrimitiveSet, config: NetworkConfig, place: int, cell: CellPlan, edge: tuple[int, int]
) -> Mapping[str, Tensor]:
    """Of the largest primitive of each family, and what makes small kernels of its centre. edge: its node, its
    source."""
    node, source = edge
    stride = 2 if cell.kind == "reduce" and source < INPUTS else 1
    found: dict[str, Tensor] = {}
    for name, build in PRIMITIVES[primitives].items():
        candidate = build(cell.channels, stride)
        if config.one_row:
            to_one_row(candidate)
        for rest, value in candidate.named_parameters():
            shared = shared_name(place, Edge(node, source, name), rest)
            if shared not in found:
                found[shared] = value.detach()
            elif value.shape != found[shared].shape:
                small, large = sorted((value.detach(), found[shared]), key=Tensor.numel)
                found[shared] = large
                found[f"{shared}.{SMALL_OF}"] = torch.eye(small.shape[-2] * small.shape[-1])
    return found


def _of_one_primitive(primitives: PrimitiveSet, layers: tuple[Layer, ...], name: str) -> Genotype:
    cell = tuple(Edge(node, source, name) for node in range(NODES) for source in range(INPUTS))
    return Genotype(primitives, cell, cell, layers)
