"""What is built, and what may be found: the space of a search and the size of its network."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast, get_args

from ...errors import InputError
from ...setting import check_settings, chosen, setting

PrimitiveSet = Literal["darts", "plain"]
Level = Literal["micro", "macro", "both"]
Attention = Literal["none", "eca", "cbam", "tcs", "sma", "spike"]
Reads = Literal["images", "spikes"]  # spikes: frames of them, one for each time step
AttentionIn = Literal["search", "network", "both"]
Gates = Literal["every", "search"]
Decays = Literal["half", "search"]

# Target -> kinds of attention that it takes. A real number that depends on the input is no synapse; a spike is one.
ATTENTION_FOR: Mapping[str, tuple[Attention, ...]] = {
    "onnx": get_args(Attention),
    "loihi": ("none", "spike"),
    "nir": ("none", "spike"),
}


def primitive_set(name: str) -> PrimitiveSet:
    """The name as a known primitive set, or InputError that lists the sets."""
    return cast(PrimitiveSet, chosen("primitive_set", name, get_args(PrimitiveSet)))


def attention_name(name: str) -> Attention:
    """The name as a known kind of attention, or InputError that lists the kinds."""
    return cast(Attention, chosen("attention", name, get_args(Attention)))


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSettings:
    """Raises InputError when a value is out of range, or when the target refuses the attention."""

    primitives: PrimitiveSet = setting(
        "darts",
        "Candidate operations: darts (the eight of DARTS) or plain (convolutions, skip, max-pool).",
        common=True,
    )
    level: Level = setting(
        "micro",
        "Search the cell (micro), where to reduce and how wide for a --genotype (macro), or both together.",
    )
    channels: int = setting(
        16, "Channels of a node in the first cell; doubled at each reduction.", at_least=1, common=True
    )
    cells: int = setting(
        8, "Cells in a row, reductions at 1/3 and 2/3 unless a path says otherwise.", at_least=3, common=True
    )  # below 3 there is no normal cell to search
    cells_per_layer: bool = setting(
        False, "Search a cell of its own for every layer (D-DARTS); with --genotype from its cells on."
    )
    time_steps: int = setting(2, "Time steps T of the window.", at_least=1, common=True)
    stem_stride: int = setting(1, "Stride of the first layer; 2 halves the image, which costs a quarter.", at_least=1)
    attention: Attention = setting(
        "none",
        "On a node's input current: none, eca, cbam, tcs or sma; on its spikes: spike. Loihi, nir: none, spike.",
        common=True,
    )
    attention_in: AttentionIn = setting("both", "Where: in the search, in the network that is trained, or both.")
    gates: Gates = setting(
        "every", "Spike gates (--attention spike) behind every node, or behind those that the search chooses."
    )
    decays: Decays = setting(
        "half", "Of the membranes of a node: 1/2, or that of 1/4, 1/2, 3/4 and 7/8 which the search chooses."
    )
    for_target: str = setting("", "Search only what a target takes without a change: loihi, nir, onnx.", spelled="for")

    def __post_init__(self) -> None:
        check_settings(self)
        if self.attention == "sma" and self.time_steps < 2:
            raise InputError(
                "Attention sma zones a step out by the one before, so `time_steps >= 2` must hold, but got "
                f"time_steps={self.time_steps}; say more steps, or another --attention."
            )
        if self.cells_per_layer and self.level != "micro":
            raise InputError(
                f"--cells-per-layer gives every layer of a known path a cell, but --level {self.level} searches the "
                "path; leave --level out, or search the path first and give its genotype by --genotype."
            )
        if self.gates == "search" and (self.attention, self.attention_in) != ("spike", "both"):
            raise InputError(
                "--gates search chooses which nodes have spike gates, but the attention is "
                f"{self.attention}, in {self.attention_in}; say --attention spike with --attention-in both, or leave "
                "--gates out."
            )
        if not self.for_target:
            return
        if self.for_target not in ATTENTION_FOR:
            raise InputError(
                f"Unknown target '{self.for_target}' to search for; choose from {', '.join(ATTENTION_FOR)}."
            )
        taken = ATTENTION_FOR[self.for_target]
        if self.attention_of("network") not in taken:
            raise InputError(
                f"A network for {self.for_target} must have an attention among {', '.join(sorted(taken))}, but it is "
                f"{self.attention}; say --attention-in search, or leave --for out."
            )

    def attention_of(self, place: Literal["search", "network"]) -> Attention:
        """The attention of the supernet, or of the network that is trained."""
        return self.attention if self.attention_in in (place, "both") else "none"
