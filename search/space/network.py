"""Genotype -> spiking network: stem, cells, global mean, linear readout averaged over time."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, Protocol, cast, get_args

from spikingjelly.activation_based import layer
from torch import Tensor, nn

from ...errors import InputError
from ...files import read_json, write_json
from ...setting import chosen
from ..runs import Run
from ..settings.network import Attention, NetworkSettings, Reads, attention_name
from ..tensors import check_tensors, load_tensors, save_tensors
from .cell import Cell, CellBuilder, FrameStem, NodePlan, Stem
from .genotype import NODES, CellKind, Genotype, Layer
from .genotype import from_dict as genotype_from_dict
from .genotype import to_dict as genotype_to_dict
from .imported import ImportedNetwork, load_imported
from .imported import to_dict as imported_to_dict
from .layout import STEM_MULTIPLIER, CellPlan, check_even, default_layers, plan_cells, size_over
from .primitives import PRIMITIVES, to_one_row
from .transformer.network import SpikingTransformer, network_from_dict, network_to_dict


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """Everything of one network but its cells and their path. Raises InputError when a value is out of range."""

    channels: int  # of a node in the first cell; doubled at each reduction
    cells: int
    time_steps: int
    classes: int
    input_shape: tuple[int, int, int]  # of an image or a frame: channels, rows, columns; 1 row: kernels are 1 x k
    stem_stride: int = 1  # 2: the stem halves the image
    attention: Attention = "none"
    dataset: str = ""  # the images it is trained on, for the record
    reads: Reads = "images"  # or frames of spikes, one for each time step

    def __post_init__(self) -> None:
        attention_name(self.attention)
        chosen("reads", self.reads, get_args(Reads))
        for name, least in (("channels", 1), ("cells", 1), ("time_steps", 1), ("classes", 2), ("stem_stride", 1)):
            if getattr(self, name) < least:
                raise InputError(f"`{name} >= {least}` must hold, but got {name}={getattr(self, name)}.")
        if len(self.input_shape) != 3 or min(self.input_shape) < 1:
            raise InputError(f"Images must have a shape (channels, rows, columns), but got {self.input_shape}.")

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Of what the network reads at once: (C, H, W), or (T, C, H, W) of frames."""
        return self.input_shape if self.reads == "images" else (self.time_steps, *self.input_shape)

    @property
    def stem_size(self) -> tuple[int, int]:
        """Rows and columns of what the cells get."""
        return size_over(self.input_shape[1:], self.stem_stride)

    @property
    def one_row(self) -> bool:
        """Whether it is a network of signals of one dimension, whose kernels are 1 x k."""
        return self.input_shape[1] == 1

    def plan(self, layers: tuple[Layer, ...] | None = None) -> tuple[CellPlan, ...]:
        """Of every cell, on this path or, without one, in the usual layout.

        Raises InputError when the path has another number of cells, or when a size is odd before a reduction.
        """
        if layers is not None and len(layers) != self.cells:
            raise InputError(
                f"A path must have a layer for each of the cells, but it has {len(layers)} layers and there are "
                f"{self.cells} cells; say --cells {len(layers)}."
            )
        plan = plan_cells(layers or default_layers(self.cells), self.channels)
        check_even(self.input_shape[1:], self.stem_stride, plan[-1].halvings)
        return plan

    def check_genotype(self, genotype: Genotype) -> None:
        """Raises InputError for a genotype with gates where the network has none, and for cells of another number."""
        if genotype.cells is not None and len(genotype.cells) != self.cells:
            raise InputError(
                f"The genotype has a cell for each of its {len(genotype.cells)} layers, but the network has "
                f"{self.cells} cells; say --cells {len(genotype.cells)}."
            )
        if self.attention != "spike" and any(map(any, genotype.gates or ())):
            raise InputError(
                f"The genotype has spike gates behind some of its nodes, but the network's attention is "
                f"{self.attention}; say --attention spike, or take the key `gates` out of it."
            )


class ImageKind(Protocol):
    """What a network must know of its images; a `Dataset` does."""

    @property
    def name(self) -> str: ...

    @property
    def classes(self) -> int: ...

    @property
    def input_shape(self) -> tuple[int, int, int]: ...

    @property
    def frames(self) -> int | None: ...


def network_config(
    settings: NetworkSettings, images: ImageKind, place: Literal["search", "network"] = "network"
) -> NetworkConfig:
    """The network of these settings for these images: the one that is trained, or the supernet of the search.

    Raises InputError where events were binned into another number of time steps.
    """
    if images.frames not in (None, settings.time_steps):
        raise InputError(
            f"Events must be binned into the network's {settings.time_steps} time steps, but '{images.name}' has "
            f"{images.frames} frames; load it with time_steps={settings.time_steps}."
        )
    return NetworkConfig(
        channels=settings.channels,
        cells=settings.cells,
        time_steps=settings.time_steps,
        classes=images.classes,
        input_shape=images.input_shape,
        stem_stride=settings.stem_stride,
        attention=settings.attention_of(place),
        dataset=images.name,
        reads="images" if images.frames is None else "spikes",
    )


class SpikingBackbone(nn.Module):
    """Images [N, C, H, W] or frames of spikes [N, T, C, H, W] -> logits [N, classes], with cells as `build` makes them.

    Images of one row are signals, and all kernels are 1 x k.
    The neurons keep their membranes: call `spikingjelly.activation_based.functional.reset_net` before each batch.
    """

    def __init__(self, build: CellBuilder, config: NetworkConfig, plan: Sequence[CellPlan]) -> None:
        super().__init__()
        self.config = config
        self.plan = tuple(plan)
        self.stem = _stem(config)
        self.cells = nn.ModuleList(
            build(
                kind=cell.kind,
                place=place,
                in_channels=cell.in_channels,
                channels=cell.channels,
                attention=config.attention,
                halve_s0=cell.halve_s0,
            )
            for place, cell in enumerate(self.plan)
        )
        self.pool = layer.AdaptiveAvgPool2d((1, 1), step_mode="m")
        self.readout = layer.Linear(NODES * self.plan[-1].channels, config.classes, step_mode="m")
        if config.one_row:
            to_one_row(self)

    def planned_cells(self) -> list[nn.Module]:
        """In the order of the plan."""
        return list(self.cells)

    def forward(self, inputs: Tensor) -> Tensor:
        s0 = s1 = self.stem(inputs)
        for cell in self.cells:
            s0, s1 = s1, cell(s0, s1)
        features = self.pool(s1).flatten(2)  # [T, N, C]
        return cast(Tensor, self.readout(features).mean(0))


def _stem(config: NetworkConfig) -> nn.Module:
    channels = STEM_MULTIPLIER * config.channels
    if config.reads == "spikes":
        return FrameStem(config.input_shape[0], channels, config.stem_stride)
    return Stem(config.input_shape[0], channels, config.time_steps, config.stem_stride)


class SpikingNetwork(SpikingBackbone):
    """The network built from a genotype; its neurons are `stem.lif` and `cells.<i>.<p0 | p1 | n1 .. n4>.lif`."""

    def __init__(self, genotype: Genotype, config: NetworkConfig) -> None:
        config.check_genotype(genotype)

        def build(*, kind: CellKind, place: int, **options: Any) -> nn.Module:
            return Cell(kind, [_node_plan(genotype, kind, place, node) for node in range(NODES)], **options)

        super().__init__(build, config, config.plan(genotype.layers))
        self.genotype = genotype


def _node_plan(genotype: Genotype, kind: CellKind, place: int, node: int) -> NodePlan:
    table = PRIMITIVES[genotype.primitives]
    return NodePlan(
        incoming=[(edge.source, table[edge.primitive]) for edge in genotype.incoming(kind, node, place)],
        gated=genotype.gated(kind, node, place) is not False,
        decay=genotype.decay(kind, node, place),
    )


RunNetwork = SpikingNetwork | ImportedNetwork | SpikingTransformer


def save_network(run: Run, network: SpikingNetwork) -> None:
    """Write model.safetensors and config.json."""
    save_tensors(run.weights, network.state_dict())
    write_json(run.config, {"genotype": genotype_to_dict(network.genotype), "network": asdict(network.config)})


def save_imported(run: Run, network: ImportedNetwork) -> None:
    """Write model.safetensors, its tensors named as its own code names them, and config.json."""
    save_tensors(run.weights, network.imported.state_dict())
    write_json(run.config, {"imported": imported_to_dict(network.config)})


def save_transformer(run: Run, network: SpikingTransformer) -> None:
    """Write model.safetensors and config.json."""
    save_tensors(run.weights, network.state_dict())
    write_json(run.config, network_to_dict(network))


def load_network(run: Run) -> RunNetwork:
    """The trained network of a run, in eval mode; of one that was imported, its code is run.

    Raises InputError when the run has no model, or when the weights are damaged, not finite or of another network.

    >>> settings = spikeport.choose(primitives="plain", channels=2, cells=3, search_epochs=1, train_epochs=1)
    >>> spikeport.load_network(spikeport.run_search(settings, "runs/mine")).config.channels
    2
    """
    if not (run.config.is_file() and run.weights.is_file()):
        raise InputError(
            f"The run '{run.path}' has no trained network; finish it with `spikeport search --resume --out {run.path}`."
        )
    config = read_json(run.config)
    if config.keys() == {"imported"}:
        theirs = load_imported(run.config, config["imported"])
        tensors, _ = load_tensors(run.weights)
        check_tensors(run.weights, tensors, theirs.imported.state_dict())
        theirs.imported.load_state_dict(tensors)
        return theirs
    if config.keys() == {"transformer", "network"}:
        transformer = network_from_dict(run.config, config)
        tensors, _ = load_tensors(run.weights)
        check_tensors(run.weights, tensors, transformer.state_dict())
        transformer.load_state_dict(tensors)
        return transformer.eval()
    network = SpikingNetwork(*_described(run.config, config))
    tensors, _ = load_tensors(run.weights)
    check_tensors(run.weights, tensors, network.state_dict())
    network.load_state_dict(tensors)
    return network.eval()


def described(path: Path) -> tuple[Genotype, NetworkConfig]:
    """What a config.json says of a network, without its weights. Raises InputError where it says nothing of cells."""
    return _described(path, read_json(path))


def _described(path: Path, config: Mapping[str, Any]) -> tuple[Genotype, NetworkConfig]:
    if config.keys() != {"genotype", "network"}:
        raise InputError(f"'{path}' must have the keys genotype and network, but has {', '.join(config) or 'none'}.")
    return genotype_from_dict(config["genotype"]), _config(path, config["network"])


def count_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _config(path: Path, data: object) -> NetworkConfig:
    known = {field.name for field in fields(NetworkConfig)}
    needed = {field.name for field in fields(NetworkConfig) if field.default is MISSING}
    if not isinstance(data, dict) or not needed <= data.keys() <= known:
        raise InputError(
            f"'{path}': `network` must have the keys {', '.join(sorted(needed))}, "
            f"and no others than {', '.join(sorted(known - needed))}."
        )
    for key, value in data.items():
        whole = value if key == "input_shape" and isinstance(value, list) else [value]
        wanted = str if key in ("attention", "dataset", "reads") else int
        if not all(type(one) is wanted for one in whole) or (key == "input_shape") != isinstance(value, list):
            raise InputError(f"'{path}': `{key}` of `network` is {value!r}, which is of a wrong type; copy it again.")
    return NetworkConfig(**data | {"input_shape": tuple(data["input_shape"])})
