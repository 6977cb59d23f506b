"""The same network as an ANN, and as an SNN on the same arithmetic: which needs less energy, and where that turns.

Everything is one inference in 45 nm, so the two may be divided; neither may be set against a chip's energy.

    ANN = MACs * mac + encoder MACs * mac [+ neurons * write]
    SNN = synaptic operations * add + T * neurons * update + T * encoder MACs * mac

A MAC is one synapse of non-zero weight; with zeros skipped, one whose source spiked in the sample, which is where an
ANN whose activation is the spike count is not zero. With memory traffic each event also pays for what it reads and
writes. Relays exist on a chip only, and an OR population is a max-pooling: neither adds to the ANN or to this SNN.

The SNN needs as much as the ANN at the break-even, in spikes per synapse and inference:

    (ANN - what the SNN needs without spikes) / (synapses * joules per synaptic operation)
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from ...errors import InputError
from ...export.graph import SpikingGraph
from .arithmetic import FP32, INT8, MEMORIES, TECHNOLOGY, Arithmetic, access, quantized, smallest_memory
from .operations import Integers, Operations, operations_of
from .profiles import Price, source_row

BREAK_EVEN = (0.15, 1.38)  # spikes per synapse and inference, against an efficient ANN [Dampfhoffer et al. 2023]
CAUTION = (
    "A chip's energy and these 45 nm energies belong to different technologies and leave different things out: read "
    "them side by side, do not add or divide them."
)
UNPRICED = (
    "Memory traffic, in the rows without it: reading and writing weights, activations and membranes, which often costs "
    "more than the arithmetic.",
    "Reuse, in the rows with memory traffic: registers and caches keep values that are counted here as read each time.",
    "Bias and ReLU of the ANN, the comparisons of its max-pooling and the ORs of the SNN's.",
    "Finding the zeros that are skipped, and bringing spikes to their synapses: addresses, queues, routing.",
    "What the encoder does beside its multiply-accumulates.",
    "Static power, control and the host.",
)
ENCODER_NOTE = "Memory traffic; on the host, in another technology: not part of any chip's total."
NO_ENCODER_NOTE = "Nothing: no encoder is counted, the chip gets spikes as they are."
ASSUMPTIONS = (
    "The ANN has the same topology and the same non-zero weights with ReLU and looks once; a recurrent projection "
    "counts once.",
    "Relays exist on the chip only and OR populations are max-poolings, so neither counts in the ANN or in the SNN "
    "beside it.",
    "SNN: one addition for each synaptic operation; in every step one multiplication (decay), one addition (current or "
    "bias) and one comparison (priced as an addition) for each neuron, and the encoder's multiply-accumulates.",
    "INT8 SNN: the sum is priced as an INT8 addition, as the literature does, and kept in 16 bits.",
    "Quantized ANN: activations of ceil(log2(T + 1)) = {bits} bits, which count to T as spikes do (arXiv:2409.08290); "
    "a multiplication costs {bits}/8 of INT8's. Its encoder, and the SNN beside it, are those of INT8.",
    "Zeros skipped: only multiply-accumulates whose source spiked in the sample, where an ANN whose activation is the "
    "spike count is not zero.",
    "Memory traffic of the ANN: a weight and an activation read for each multiply-accumulate, an activation written "
    "for each neuron; of the SNN: a weight read, a membrane read and written for each synaptic operation, a membrane "
    "read and written for each update; of the encoder: a weight and an activation read for each multiply-accumulate.",
    "A value of n bits costs n/64 of a word of the smallest memory that holds all non-zero weights (shared ones once), "
    "all activations or all membranes.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Costs:
    """Joules of one event, with what it reads and writes where memory counts."""

    mac: float
    write: float
    encoder_mac: float
    operation: float
    update: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Variant:
    """One comparison: the ANN's arithmetic, that of the SNN and of both encoders, what is skipped, what counts."""

    ann: Arithmetic
    snn: Arithmetic
    zero_skipping: bool
    memory: bool

    @property
    def name(self) -> str:
        return self.ann.title + ", zeros skipped" * self.zero_skipping + ", memory traffic" * self.memory


def ann_baseline(
    graph: SpikingGraph,
    *,
    spikes_of: Mapping[str, Integers],
    fired_of: Mapping[str, Integers],
    samples: int,
    encoder_macs: int,
) -> dict[str, Any]:
    """The ANN of the same topology beside this SNN on the same arithmetic; joules of one inference, JSON-ready.

    spikes_of: input or population -> each neuron's spikes, summed over steps and samples, int64 of its shape. fired_of:
    likewise the number of samples in which the neuron spiked at least once. encoder_macs: multiply-accumulates of the
    encoder for one look. Raises InputError where the counts do not fit the graph or it has no synapse that counts.
    """
    _check_encoder(encoder_macs)
    done = operations_of(graph, spikes_of, fired_of, samples, encoder_macs)
    precise = quantized(graph.time_steps)
    rate = done.operations / done.synapses
    macs = done.synapses + encoder_macs
    return {
        "technology": TECHNOLOGY,
        "time_steps": 1,
        "macs": macs,
        "network_macs": done.synapses,
        "encoder_macs": encoder_macs,
        "max_pool_inputs": done.max_pool_inputs,
        "energy_j": {one.name: macs * one.mac for one in (FP32, INT8)},
        "rows": [_row(variant, done) for variant in _variants(precise)],
        "spikes_per_synapse": rate,
        "warning": _warning(rate),
        "memories": {one.name: _memories(one, done) for one in (FP32, INT8, precise)},
        "assumptions": [line.format(bits=precise.activation_bits) for line in ASSUMPTIONS],
        "unpriced": list(UNPRICED),
        "sources": [source_row(term, price) for term, price in _prices(precise).items()],
        "caution": CAUTION,
    }


def encoder(time_steps: int, encoder_macs: int) -> dict[str, Any]:
    """The real-valued encoder before the spiking network: FP32 MACs of every step, on a host in 45 nm; JSON-ready.

    A real-valued layer multiplies, so it counts as MAC x T and not as accumulations; a network that reads spikes has
    none. Raises InputError if `encoder_macs` is negative.
    """
    _check_encoder(encoder_macs)
    macs = encoder_macs * time_steps
    return {
        "technology": TECHNOLOGY,
        "time_steps": time_steps,
        "macs": macs,
        "energy_j": macs * FP32.mac,
        "sources": [source_row("fp32_add", FP32.add), source_row("fp32_multiply", FP32.multiply)],
        "note": ENCODER_NOTE if macs else NO_ENCODER_NOTE,
    }


def _variants(precise: Arithmetic) -> Iterator[_Variant]:
    for (ann, snn), memory, skips in product(
        ((FP32, FP32), (INT8, INT8), (precise, INT8)), (False, True), (False, True)
    ):
        yield _Variant(ann=ann, snn=snn, zero_skipping=skips, memory=memory)


def _row(variant: _Variant, done: Operations) -> dict[str, Any]:
    costs = _costs(variant, done)
    macs = done.executed if variant.zero_skipping else done.synapses
    ann = {
        "macs": macs * costs.mac,
        "activation_writes": done.written * costs.write,
        "encoder": done.encoder_macs * costs.encoder_mac,
    }
    snn = {
        "synaptic_operations": done.operations * costs.operation,
        "neuron_updates": done.updates * costs.update,
        "encoder": done.time_steps * done.encoder_macs * costs.encoder_mac,
    }
    ann_j, snn_j = sum(ann.values()), sum(snn.values())
    rate = done.operations / done.synapses
    silent = snn["neuron_updates"] + snn["encoder"]
    break_even = (ann_j - silent) / (done.synapses * costs.operation)
    return {
        "name": variant.name,
        "arithmetic": variant.ann.name,
        "zero_skipping": variant.zero_skipping,
        "memory": variant.memory,
        "ann_j": ann_j,
        "snn_j": snn_j,
        "ann_terms_j": ann,
        "snn_terms_j": snn,
        "ann_macs": macs + done.encoder_macs,
        "wins": "snn" if snn_j < ann_j else "ann",
        "ratio": ann_j / snn_j,
        "spikes_per_synapse": rate,
        "break_even_spikes_per_synapse": break_even,
        "sentence": _sentence(variant.name, ann_j, snn_j, rate, break_even, done.time_steps),
    }


def _costs(variant: _Variant, done: Operations) -> _Costs:
    ann, snn = variant.ann, variant.snn
    arithmetic = _Costs(mac=ann.mac, write=0.0, encoder_mac=snn.mac, operation=snn.add.joules, update=snn.update)
    if not variant.memory:
        return arithmetic
    weight = access(done.weights, snn.weight_bits)  # the same on both sides: 8 bits or 32
    activation = access(done.activations, ann.activation_bits)
    membrane = access(done.membranes, snn.membrane_bits)
    return _Costs(
        mac=arithmetic.mac + weight + activation,
        write=activation,
        encoder_mac=arithmetic.encoder_mac + weight + access(done.activations, snn.activation_bits),
        operation=arithmetic.operation + weight + 2 * membrane,
        update=arithmetic.update + 2 * membrane,
    )


def _sentence(name: str, ann_j: float, snn_j: float, rate: float, break_even: float, time_steps: int) -> str:
    spikes = f"{_figure(break_even)} spikes per synapse and inference"
    if snn_j < ann_j:
        wins = f"The SNN wins over the ANN ({name}) by {_figure(ann_j / snn_j)}x"
        if break_even > time_steps:
            return (
                f"{wins}; it cannot lose, because it would only above {spikes}, more than {time_steps} steps can hold."
            )
        return f"{wins}; it would lose above {spikes}, and has {_figure(rate)}."
    margin = f"by {_figure(snn_j / ann_j)}x" if ann_j else "that needs nothing, because no neuron spikes"
    loses = f"The SNN loses to the ANN ({name}) {margin}"
    if break_even <= 0:
        return f"{loses}; it cannot win, because without any spike it would need as much as the ANN or more."
    return f"{loses}; it would win below {spikes}, and has {_figure(rate)}."


def _figure(value: float) -> str:
    """Three significant digits, thousands in full: 1.00, 0.214, 12.3, 1,234."""
    return f"{value:#.3g}".rstrip(".") if value < 999.5 else f"{value:,.0f}"


def _warning(rate: float) -> str | None:
    low, high = BREAK_EVEN
    if rate <= low:
        return None
    where = "within" if rate <= high else "above"
    means = "an efficient ANN may need less energy" if rate <= high else "an efficient ANN needs less energy"
    return (
        f"{_figure(rate)} spikes per synapse and inference are {where} the break-even against an efficient ANN, {low} "
        f"to {high} (Dampfhoffer et al. 2023): {means}."
    )


def _memories(one: Arithmetic, done: Operations) -> dict[str, str]:
    """Where the values of an arithmetic's rows lie."""
    kinds = {
        "weights": (done.weights, one.weight_bits),
        "activations": (done.activations, one.activation_bits),
        "membranes": (done.membranes, one.membrane_bits),
    }
    return {kind: smallest_memory(values, bits).title for kind, (values, bits) in kinds.items()}


def _prices(precise: Arithmetic) -> dict[str, Price]:
    operations = {f"{one.name}_{word}": getattr(one, word) for one in (FP32, INT8) for word in ("add", "multiply")}
    return operations | {"quantized_multiply": precise.multiply} | {memory.name: memory.word for memory in MEMORIES}


def _check_encoder(encoder_macs: int) -> None:
    if encoder_macs < 0:
        raise InputError(
            f"`encoder_macs >= 0` must hold, but encoder_macs={encoder_macs}; count the encoder's "
            "multiply-accumulates of one step, 0 without an encoder."
        )
