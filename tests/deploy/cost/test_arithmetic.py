"""Arithmetic and memory in 45 nm against the published table, and what is derived from it."""

import math
from functools import partial

import pytest

from spikeport.deploy.cost.arithmetic import FP32, INT8, MEMORIES, access, quantized, smallest_memory
from spikeport.deploy.cost.profiles import find_profile

close = partial(pytest.approx, rel=1e-12, abs=0.0)  # the default of abs is a whole picojoule


def test_the_prices_of_horowitz_2014() -> None:
    prices = {one.name: (one.add.value, one.multiply.value, one.add.unit) for one in (FP32, INT8)}
    assert prices == {"fp32": (0.9, 3.7, "pJ"), "int8": (0.03, 0.2, "pJ")}
    words = {memory.name: memory.word.joules for memory in MEMORIES}
    expected = {"sram_8kb": 10e-12, "sram_32kb": 20e-12, "sram_1mb": 100e-12, "dram": 1.3e-9}
    assert words == close(expected)
    every = [*(memory.word for memory in MEMORIES), *(p for one in (FP32, INT8) for p in (one.add, one.multiply))]
    assert all(price.grade == "S" and "Horowitz 2014" in price.source for price in every)


def test_a_mac_and_an_update() -> None:
    assert (FP32.mac, INT8.mac) == close((4.6e-12, 0.23e-12))
    # multiply by the decay, add the current, subtract the threshold
    assert (FP32.update, INT8.update) == close((5.5e-12, 0.26e-12))


def test_the_price_list_of_the_same_arithmetic_agrees() -> None:
    energy = find_profile("horowitz45nm").energy
    operation, update = energy["synaptic_operations"], energy["neuron_updates"]
    assert (operation.joules, update.joules) == close((FP32.add.joules, FP32.update))
    lows = (operation.at("low").joules, update.at("low").joules)
    assert lows == close((INT8.add.joules, INT8.update))


@pytest.mark.parametrize(("steps", "bits"), [(1, 1), (2, 2), (3, 2), (4, 3), (7, 3), (8, 4), (255, 8), (256, 9)])
def test_activations_that_count_to_t(steps: int, bits: int) -> None:
    one = quantized(steps)
    assert one.activation_bits == bits == math.ceil(math.log2(steps + 1))
    assert one.multiply.joules == close(0.2e-12 * bits / 8)
    assert (one.add, one.weight_bits, one.multiply.grade) == (INT8.add, 8, "D")
    assert f"{bits}-bit" in one.title


@pytest.mark.parametrize(
    ("values", "name"),
    [
        (1, "sram_8kb"),
        (2048, "sram_8kb"),  # 2048 values of 4 bytes fill it
        (2049, "sram_32kb"),
        (8192, "sram_32kb"),
        (8193, "sram_1mb"),
        (2**18, "sram_1mb"),
        (2**18 + 1, "dram"),
        (2**40, "dram"),
    ],
)
def test_the_smallest_memory_that_holds_everything(values: int, name: str) -> None:
    assert smallest_memory(values, 32).name == name
    assert smallest_memory(4 * values, 8).name == name


def test_a_value_costs_its_share_of_a_word() -> None:
    assert access(2048, 32) == close(5e-12)  # half of 10 pJ
    assert access(100, 8) == close(1.25e-12)
    assert access(100, 3) == close(0.46875e-12)
    assert access(2**20, 32) == close(650e-12)
