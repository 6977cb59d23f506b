"""What may be different: the table of all causes that the doctor knows, each one changed rule of the reference."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ...export.graph import Array, Population, SpikingGraph
from ...export.simulate import Spikes
from .changes import (
    Change,
    decay_by,
    of_delays,
    of_integers,
    of_kernels,
    of_populations,
    of_rules,
    rule,
    rule_of_neurons,
    scaled,
    scaled_input,
)
from .rounding import ROUNDINGS, as_eight_bits, as_the_chip, in_half_precision, rounded_again
from .rules import Reset, Rounding
from .wiring import ORDERS, columns_read, columns_reordered, input_transposed, matrix_transposed, of_windows, rows_first


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule that can be switched. shows: the inputs on which it matters, to tell causes apart. mend: what to do."""

    shows: str
    mend: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypothesis:
    """The candidate computes as the reference does, but for one thing.

    rule: its key in `RULES`. name: what the candidate does, after "the candidate ...". teaches: where one meets it.
    answers: whether it says what the readout's membrane is, too.
    """

    rule: str
    name: str
    teaches: str
    change: Change
    answers: bool = True


RULES: dict[str, Rule] = {
    "tie rule": Rule(
        shows="membranes that meet the threshold exactly: whole weights, no leak",
        mend="lower the threshold by the smallest step (the chip's register by one) where spikes need v > threshold",
    ),
    "reset": Rule(
        shows="neurons that fire and get current in the step after",
        mend="set one reset in both (SpikingJelly: v_reset; snnTorch: reset_mechanism); NetX has reset to zero alone",
    ),
    "decay": Rule(
        shows="neurons that are left below their threshold for many steps",
        mend="compare tau, dt and the decay registers: SpikingJelly keeps 1 - 1/tau of a membrane, others exp(-dt/tau)",
    ),
    "decay rounding": Rule(
        shows="long windows with few spikes, in which one unit more or less adds up",
        mend="round the product of membrane and decay toward zero, as Lava and the chip do",
    ),
    "weight rounding": Rule(
        shows="many spikes at once, so that the rounded parts add up",
        mend="round to even numbers before writing: lava-dl drops the last bit of a weight",
    ),
    "saturation or wrap": Rule(
        shows="many spikes in every step with large weights, so that a state meets 2^23",
        mend="scale weights and threshold down until no state meets 2^23",
    ),
    "axis order": Rule(
        shows="patterns without symmetry: one corner of one channel alone",
        mend="transpose spikes to [C, H, W] before they are flattened, or the matrix's columns with them",
    ),
    "kernel order": Rule(
        shows="patterns without symmetry: a single spike, whose neighbours then show the kernel itself",
        mend="write kernels as torch has them, [O, I, kh, kw], to be correlated with the input",
    ),
    "delay or phase": Rule(
        shows="a single spike in the first step, and silence after it",
        mend="shift the record, or add the delay to the reference; reset the state between samples",
    ),
    "bias": Rule(
        shows="no spikes at all: the bias alone drives the neurons then",
        mend="look for the bias in the file; add it once in every step, and fold the batch norm's once",
    ),
    "input scale": Rule(
        shows="a neuron with one spike at its input, and its membrane after it",
        mend="compare the ranges of the inputs (0..1 or 0..255), and decay_input of SpikingJelly's neurons",
    ),
    "batch norm": Rule(
        shows="the same sample in two different batches: its answer must not change",
        mend="call network.eval() before running or tracing",
    ),
}


def hypotheses(spikes: Spikes, unrounded: SpikingGraph | None = None) -> Iterator[Hypothesis]:
    """All that a graph's meaning can be changed in. spikes: of its input. unrounded: the float graph it came from."""
    yield from _of_neurons()
    yield from _of_numbers(spikes, unrounded)
    yield from _of_order()
    yield from _of_time()
    yield from _of_scale()


def _of_neurons() -> Iterator[Hypothesis]:
    told = "SpikingJelly fires on v >= threshold; snnTorch, Norse and Loihi on v > threshold"
    for word, strictly in (("fires on v > threshold only", True), ("fires on v >= threshold", False)):
        yield Hypothesis(rule="tie rule", name=word, teaches=told, change=rule_of_neurons(strictly=strictly))
    resets: dict[str, tuple[Reset, bool, str]] = {
        "resets to zero": ("zero", False, "SpikingJelly's v_reset=0.0, and Lava's"),
        "resets by subtraction of the threshold": ("subtract", False, "SpikingJelly's v_reset=None, a soft reset"),
        "does not reset": ("none", False, "a readout's neuron that was taken for one that spikes"),
        "resets to zero one step late": ("zero", True, "the step after a spike is lost, with all that arrives in it"),
        "resets by subtraction one step late": (
            "subtract",
            True,
            "snnTorch's default, after the leak of the next step",
        ),
    }
    for word, (reset, late, where) in resets.items():
        change = rule_of_neurons(reset=reset, reset_late=late)
        yield Hypothesis(rule="reset", name=word, teaches=where, change=change)


def _of_numbers(spikes: Spikes, unrounded: SpikingGraph | None) -> Iterator[Hypothesis]:
    roundings: dict[str, tuple[Rounding, str]] = {
        "downward": ("floor", "an arithmetic shift to the right rounds negative membranes away from zero"),
        "to the nearest, halves upward": ("nearest", "a half is added before an arithmetic shift"),
        "to the nearest, halves to even": ("nearest even", "what round does in NumPy and torch, and not the chip"),
        "not at all": ("none", "a simulation in floats"),
    }
    for word, (value, why) in roundings.items():
        change = of_integers(decay_rounding=value)
        yield Hypothesis(rule="decay rounding", name=f"rounds a decayed state {word}", teaches=why, change=change)
    registers = {0: "in whole 1/4096", 1: "of 1/4096 more", -1: "of 1/4096 less"}
    for by, word in registers.items():
        why = "the register holds what is forgotten, less one, in some tools' files"
        yield Hypothesis(rule="decay", name=f"has decays {word}", teaches=why, change=decay_by(by))
    no_leak = of_populations(lambda p: p if p.role == "readout" else replace(p, decay=1.0))
    yield Hypothesis(rule="decay", name="does not leak", teaches="an IF neuron in the place of a LIF", change=no_leak)
    for word, round_ in ROUNDINGS.items():
        why = "lava-dl keeps even weights, rounded by its own rule"
        change = rounded_again(round_, unrounded)
        yield Hypothesis(rule="weight rounding", name=f"rounds weights {word}", teaches=why, change=change)
    eight = "weights of one kernel share a scale, its largest being 127"
    for word, cut in (("to the nearest", np.round), ("toward zero", np.trunc)):
        name = f"has weights of eight bits, rounded {word}"
        yield Hypothesis(rule="weight rounding", name=name, teaches=eight, change=as_eight_bits(cut))
    half = "a model that was saved or run in half precision"
    yield Hypothesis(rule="weight rounding", name="has float16 weights", teaches=half, change=in_half_precision)
    chip = "the float network stands against its quantized form, of which only accuracy can be asked"
    whole = as_the_chip(spikes)  # the readout's scale hangs on the answers while calibrating, which nobody says here
    name = "computes in the chip's integers"
    yield Hypothesis(rule="weight rounding", name=name, teaches=chip, change=whole, answers=False)
    wraps = {
        "saturates its current at 2^23": of_integers(current_limit="saturate"),
        "has no limit of its current": of_integers(current_limit="none"),
        "wraps its membrane at 2^23": of_integers(membrane_limit="wrap"),
        "has no limit of its membrane": of_integers(membrane_limit="none"),
    }
    why = "Lava wraps the current and saturates the membrane, both of 24 bits"
    for word, change in wraps.items():
        yield Hypothesis(rule="saturation or wrap", name=word, teaches=why, change=change)


def _of_order() -> Iterator[Hypothesis]:
    places = {"H, W, C": "TensorFlow has channels last", "W, H, C": "Lava has [W, H, C]"}
    for word, axes in ORDERS.items():
        why = places.get(word, "a transposition too many or too few")
        name = f"flattens spikes as {word}"
        yield Hypothesis(rule="axis order", name=name, teaches=why, change=columns_read(axes))
        name = f"has matrices whose columns count {word}"
        yield Hypothesis(rule="axis order", name=name, teaches=why, change=columns_reordered(axes))
    why = "an image read as [W, H]; spikes go in transposed"
    name = "reads rows of its input as columns"
    yield Hypothesis(rule="axis order", name=name, teaches=why, change=input_transposed)
    kernels = {
        "flips kernels, rows and columns": (lambda w: w[:, :, ::-1, ::-1], "convolution in the place of correlation"),
        "flips the rows of kernels": (lambda w: w[:, :, ::-1], "images upside down"),
        "flips the columns of kernels": (lambda w: w[:, :, :, ::-1], "images mirrored"),
        "swaps rows and columns of kernels": (lambda w: w.swapaxes(2, 3), "kernels written as [O, I, kw, kh]"),
        "swaps input and output channels of kernels": (lambda w: w.swapaxes(0, 1), "kernels as [I, O, kh, kw]"),
    }
    for word, (turn, why) in kernels.items():
        yield Hypothesis(rule="kernel order", name=word, teaches=why, change=of_windows(turn))
    matrices = {"has matrices as [I, O]": matrix_transposed, "has matrices filled in the order [I, O]": rows_first}
    for word, matrix in matrices.items():
        why = "Keras keeps [I, O], torch and Lava [O, I]"
        yield Hypothesis(rule="kernel order", name=word, teaches=why, change=of_kernels(matrix))


def _of_time() -> Iterator[Hypothesis]:
    why = "in Lava a spike reaches the next layer one step later, and so it does on clocked hardware"
    yield Hypothesis(
        rule="delay or phase", name="gets every spike one step later", teaches=why, change=rule_of_neurons(late=1)
    )
    name = "gets every spike one step later, its readout too"
    yield Hypothesis(rule="delay or phase", name=name, teaches=why, change=rule(late=1))
    why = "delays count from 0 in one tool and from 1 in the other"
    for word, change in (
        ("has delays of one step less", of_delays(lambda d: np.maximum(d - 1, 0))),
        ("has delays of one step more", of_delays(lambda d: d + 1)),
        ("has no delays", of_delays(np.zeros_like)),
    ):
        yield Hypothesis(rule="delay or phase", name=word, teaches=why, change=change)
    why = "functional.reset_net, or Lava's reset interval, is missing"
    change = rule(streamed=True)
    yield Hypothesis(rule="delay or phase", name="keeps its state between samples", teaches=why, change=change)
    why = "a pipeline's last step is still under way"
    early = of_rules(lambda rules, p: replace(rules, read_early=True) if p.role == "readout" else rules)
    yield Hypothesis(rule="delay or phase", name="reads its answer one step early", teaches=why, change=early)
    late = of_rules(lambda rules, p: replace(rules, late=1) if p.role == "readout" else rules)
    why = "its readout gets every spike one step later, so that the last ones are missing"
    yield Hypothesis(rule="delay or phase", name="has its answer without the last step", teaches=why, change=late)


def _of_scale() -> Iterator[Hypothesis]:
    for word, factor in (("has no bias", 0.0), ("has its bias twice", 2.0)):
        change = of_populations(partial(_with_bias, factor))
        yield Hypothesis(rule="bias", name=word, teaches="folded twice, or lost in the file", change=change)
    why = "a bias that is set as the first state, not added in every step"
    yield Hypothesis(rule="bias", name="adds its bias in the first step only", teaches=why, change=rule(bias_once=True))
    for factor, word in ((2.0, "twice"), (0.5, "half of"), (255.0, "255 times"), (1 / 255, "1/255 of")):
        why = "spikes or pixels of another range"
        change = scaled_input(factor)
        yield Hypothesis(rule="input scale", name=f"gets {word} the input", teaches=why, change=change)
    for factor, word in ((2.0, "twice"), (0.5, "half of")):
        by = scaled(partial(_current, factor))
        why = "synapses and bias, in every neuron"
        yield Hypothesis(rule="input scale", name=f"gets {word} the current", teaches=why, change=by)
    why = "SpikingJelly's decay_input: a LIF takes in I / tau with it, and I without it"
    for word, change in (
        ("scales its current by 1 - decay", scaled(_decayed_input)),
        ("does not scale its current by 1 - decay", scaled(_whole_input)),
    ):
        yield Hypothesis(rule="input scale", name=word, teaches=why, change=change)
    for word, change in (
        ("sums its answer over time, not averages it", scaled(lambda p, graph: _answer(p, graph.time_steps))),
        ("averages its answer over time, not sums it", scaled(lambda p, graph: _answer(p, 1 / graph.time_steps))),
    ):
        why = "the membrane of the readout is a mean over T here, and a sum there"
        yield Hypothesis(rule="input scale", name=word, teaches=why, change=change)


def _decayed_input(population: Population, graph: SpikingGraph) -> float | Array | None:
    one_for_each_row = np.ndim(population.decay) < 2
    return 1.0 - population.decay if population.role == "neuron" and one_for_each_row else None


def _whole_input(population: Population, graph: SpikingGraph) -> float | Array | None:
    scale = _decayed_input(population, graph)
    return None if scale is None or not np.all(scale) else 1.0 / scale


def _with_bias(factor: float, population: Population) -> Population:
    return replace(population, bias=population.bias * factor)


def _current(factor: float, population: Population, graph: SpikingGraph) -> float | None:
    return None if population.role == "readout" else factor


def _answer(population: Population, factor: float) -> float | None:
    return factor if population.role == "readout" else None
