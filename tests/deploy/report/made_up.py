"""A run as the report gets it: made up, the same every time, with every key that the files have.

The network is made of cells of seven populations each (two preprocessings, four nodes, one OR) and relays. Its counts
follow from drawn rates, its energies from the counts and prices, so that the sums of the page can be checked.
"""

from typing import Any

import numpy as np

CORES, NEURONS_PER_CORE, MEMORY_BITS = 128, 1024, 1_048_576
MICRO, HOROWITZ = "Davies et al. 2018, IEEE Micro 38(1)", "Horowitz 2014, ISSCC, fig. 1.1.9"
DAVIES = {"synaptic_operations": 23.6e-12, "active_updates": 81e-12, "idle_updates": 52e-12, "messages": 1.7e-12}
DAVIES |= {"hops_x": 3.0e-12, "hops_y": 4.0e-12}
LISTS = {  # title, mapping, technology, factor on Davies' dynamic energy, watts static and host, relative range, steps
    "loihi1-davies2018": ("Loihi 1", "loihi1", "14 nm", 1.0, (0.104, 0.065), None, 4.1e-6),
    "loihi1-sanafe": ("Loihi 1", "loihi1", "14 nm", 1.27, (0.0, 0.0), (0.9, 1.2), 9.7e-6),
    "loihi2-proxy": ("Loihi 2", "loihi2", "Intel 4", 1.0, (0.232, 0.0), (0.5, 1.6), 0.9e-6),
    "truenorth": ("TrueNorth", None, "28 nm", 0.1, (0.064, 0.0), None, 1e-3),
    "speck": ("Speck", None, "65 nm", None, (0.0, 0.0), None, None),
    "spinnaker2": ("SpiNNaker 2", None, "22 nm", 15.0, (0.0, 0.0), None, None),
    "horowitz45nm": ("arithmetic alone", None, "45 nm", 0.04, (0.0, 0.0), (0.3, 1.4), None),
}
ANNS = {  # ANN joules, SNN joules, break-even
    "FP32": (4.54e-6, 0.52e-6, 2.9),
    "FP32, zeros skipped": (1.91e-6, 0.52e-6, 1.2),
    "FP32, with memory": (41.2e-6, 38.0e-6, 0.41),
    "FP32, zeros skipped, with memory": (17.3e-6, 38.0e-6, 0.11),
    "INT8": (2.27e-7, 0.41e-7, 1.9),
    "INT8, zeros skipped": (0.96e-7, 0.41e-7, 0.74),
    "INT8, with memory": (10.1e-6, 9.6e-6, 0.36),
    "INT8, zeros skipped, with memory": (4.2e-6, 9.6e-6, 0.094),
    "2-bit activations": (0.78e-7, 0.41e-7, 0.6),
    "2-bit activations, with memory": (2.1e-6, 9.6e-6, -0.02),
}


def check(**changes: Any) -> dict[str, Any]:
    """A row of equivalence.json that passed, but for `changes`."""
    return {
        "name": "twin",
        "reference": "torch",
        "candidate": "twin.onnx",
        "samples": 360,
        "spikes_compared": 1_200_000,
        "spikes_differing": 0,
        "ties": [],
        "max_abs_logit_difference": 0.0,
        "top1_agreement": 1.0,
        "accuracy_reference": 0.9722,
        "accuracy_candidate": 0.9694,
        "verdict": "pass",
        "first_divergence": None,
        "seconds": 1.5,
        "status": "run",
    } | changes


DIVERGED = check(
    name="netx",
    candidate="network.net",
    verdict="fail",
    spikes_differing=40321,
    first_divergence={
        "population": "cells.1.n2",
        "sample": 3,
        "step": 1,
        "neuron": [4, 7, 1],
        "margin": -64,
        "cause": "a tie at the threshold",
    },
)
NOT_RUN: dict[str, Any] = {
    "name": "lava",
    "reference": "twin.onnx",
    "candidate": "lava",
    "status": "not run",
    "reason": "no Python 3.10",
}


def energy_json(
    *, cells: int = 3, channels: int = 8, size: int = 8, time_steps: int = 2, samples: int = 360, name: str = "cells",
    seed: int = 0, wins: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """energy.json of a made-up network; `wins` is "snn" or "ann" to decide every row of the baseline, None for both."""
    rows = _populations(cells, channels, size, time_steps, name, np.random.default_rng(seed))
    counts = {
        key: sum(row[key] for row in rows)
        for key in ("spikes", "synaptic_operations", "neuron_updates", "active_updates", "idle_updates")
    }
    counts["input_spikes"] = rows[0]["spikes"]
    counts["spikes"] -= rows[0]["spikes"]
    counts["messages"] = sum(row["messages"] for row in rows)
    counts |= {"hops_x": 0.7 * counts["messages"], "hops_y": 0.4 * counts["messages"]}
    counts["hops"] = counts["hops_x"] + counts["hops_y"]
    depth = 4 * cells + 2
    mappings = {
        "loihi1": _mapping("Loihi 1", rows, NEURONS_PER_CORE),
        "loihi2": _mapping("Loihi 2", rows, 4 * NEURONS_PER_CORE),
    }
    profiles = {key: _profile(key, counts, time_steps, depth, mappings) for key in LISTS}
    dynamic = profiles["loihi1-davies2018"]["dynamic_j"]
    for row in rows:
        terms = {term: joules * row.get(term, 0.0) for term, joules in DAVIES.items()}
        terms |= {"hops_x": 0.7 * row["messages"] * 3.0e-12, "hops_y": 0.4 * row["messages"] * 4.0e-12}
        row |= {"energy_terms_j": terms, "energy_j": sum(terms.values()), "share": sum(terms.values()) / dynamic}
    roles = list(dict.fromkeys(row["role"] for row in rows))
    summed = ("neurons", "synapses", "spikes", "synaptic_operations", "energy_j", "share")
    rate = counts["synaptic_operations"] / sum(row["synapses"] for row in rows)
    return {
        "samples": samples,
        "time_steps": time_steps,
        "depth": depth,
        "spikes_per_synapse_per_inference": rate,
        "counting": "Synapses of weight zero are not counted.",
        "counts": {
            key: _spread(mean) | {"min": int(0.8 * mean), "max": int(1.3 * mean), "total": int(samples * mean)}
            for key, mean in counts.items()
            if key not in ("messages", "hops", "hops_x", "hops_y")
        },
        "mappings": mappings,
        "profiles": profiles,
        "accuracy_over_time": [
            {
                "step": t,
                "accuracy": 0.9833 * (1 - 0.16 / t**2),
                "energy_j": dynamic * t / time_steps,
                "spikes": counts["spikes"] * t / time_steps,
            }
            for t in range(1, time_steps + 1)
        ],
        "ann_baseline": _baseline(counts, rate, wins),
        "encoder": {
            "technology": "45 nm",
            "time_steps": time_steps,
            "macs": 27648,
            "energy_j": 1.27e-7,
            "sources": [_source("fp32", 4.6, "pJ", f"{HOROWITZ}: FP32 multiply 3.7 pJ + add 0.9 pJ")],
            "note": "Memory traffic; on the host, in another technology: not part of any chip's total.",
        },
        "per_population_profile": "loihi1-davies2018",
        "per_population": rows,
        "by_role": {
            role: {key: sum(row[key] for row in rows if row["role"] == role) for key in summed} for role in roles
        },
    }


def activity_json(energy: dict[str, Any], *, seed: int = 1) -> dict[str, Any]:
    """activity.json of the same network: rates that rise over the steps, and spikes drawn from them."""
    rng, steps = np.random.default_rng(seed), energy["time_steps"]
    populations = []
    for row in energy["per_population"]:
        rise = 1 - 0.6 * np.exp(-np.arange(steps) / max(1, steps / 4))
        rates = np.clip(row["firing_rate"] * rise / rise.mean(), 0, 1)
        shown = min(64, row["neurons"])
        drawn = np.argwhere(rng.random((steps, shown)) < rates[:, None])
        neurons = np.linspace(0, row["neurons"] - 1, shown).astype(int)
        populations.append(
            {
                "name": row["name"],
                "role": row["role"],
                "shape": row["shape"],
                "neurons": row["neurons"],
                "rates": rates.tolist(),
                "raster": {"neurons": neurons.tolist(), "spikes": drawn.tolist()},
            }
        )
    return {"time_steps": steps, "samples": energy["samples"], "sample": 17, "populations": populations}


def _populations(
    cells: int, channels: int, size: int, time_steps: int, name: str, rng: np.random.Generator
) -> list[dict[str, Any]]:
    stem = 3 * channels
    rows = [_population("stem", "input", (stem, size, size), 0, 0.18, time_steps, rng)]
    for cell in range(cells):
        shrink = sum(cell >= cells * third // 3 for third in (1, 2))
        shape = (channels * 2**shrink, max(size >> shrink, 1), max(size >> shrink, 1))
        synapses = 9 * shape[0] * int(np.prod(shape))
        for node in ("p0", "p1"):
            rows.append(_population(f"{name}.{cell}.{node}", "neuron", shape, synapses // 6, 0.14, time_steps, rng))
            for relay in range(1, 5):
                source = rows[-relay]["firing_rate"]
                relayed = f"{name}.{cell}.{node}.relay{relay}"
                size_of = int(np.prod(shape))
                rows.append(_population(relayed, "relay", shape, size_of, source, time_steps, rng, exact=True))
        pool = 9 * int(np.prod(shape))
        rows.append(_population(f"{name}.{cell}.n2.edges.0", "or", shape, pool, 0.45, time_steps, rng))
        for node in range(1, 5):
            rows.append(_population(f"{name}.{cell}.n{node}", "neuron", shape, 2 * synapses, 0.17, time_steps, rng))
    rows.append(_population("readout", "readout", (10,), 5048, 0.0, time_steps, rng))
    return rows


def _population(
    name: str, role: str, shape: tuple[int, ...], synapses: int, rate: float, time_steps: int,
    rng: np.random.Generator, exact: bool = False,
) -> dict[str, Any]:  # fmt: skip
    neurons = int(np.prod(shape))
    rate = rate if exact else float(np.clip(rate * rng.lognormal(0, 0.35), 0, 0.95))
    updates = 0.0 if role == "input" else float(time_steps * neurons)
    active = updates * {"neuron": 1.0, "readout": 1.0}.get(role, 0.25)
    spikes = rate * neurons * time_steps
    return {
        "name": name,
        "role": role,
        "shape": list(shape),
        "neurons": neurons,
        "synapses": synapses,
        "spikes": spikes,
        "synaptic_operations": 0.15 * synapses * time_steps,
        "neuron_updates": updates,
        "active_updates": active,
        "idle_updates": updates - active,
        "messages": 1.8 * spikes,
        "firing_rate": rate,
        "cores": None if role == "input" else -(-neurons // NEURONS_PER_CORE),
        "spread": {
            word: {"mean": mean, "std": 0.1 * mean, "min": int(0.8 * mean), "max": int(1.2 * mean) + 1}
            for word, mean in (
                ("spikes", spikes),
                ("synaptic_operations", 0.15 * synapses * time_steps),
                ("active_updates", active),
            )
        },
    }


def _mapping(title: str, rows: list[dict[str, Any]], limit: int) -> dict[str, Any]:
    """Populations first fit into cores of `limit` neurons, in order; a memory that grows with the synapses."""
    pieces: list[dict[str, Any]] = []
    core, taken = -1, limit
    for row in rows:
        if row["role"] == "input":
            continue
        left = row["neurons"]
        while left:
            if taken >= limit:
                core, taken = core + 1, 0
            part = min(left, limit - taken)
            chip, place = divmod(core, CORES)
            bits = int(row["synapses"] * part / row["neurons"])
            pieces.append(
                {
                    "core": core,
                    "chip": chip,
                    "tile": place // 4,
                    "x": place // 16,
                    "y": place // 4 % 4,
                    "population": row["name"],
                    "role": row["role"],
                    "box": [[0, n] for n in row["shape"]],
                    "neurons": part,
                    "in_axons": part // 4,
                    "out_axons": 2 * part,
                    "memory_bits": bits,
                    "use": {
                        "neurons": part / limit,
                        "in_axons": part / 4 / 4096,
                        "out_axons": part / 2048,
                        "memory_bits": bits / MEMORY_BITS,
                    },
                }
            )
            taken, left = taken + part, left - part
    cores = core + 1
    return {
        "title": title,
        "fits": True,
        "reason": None,
        "cores": cores,
        "cores_per_chip": CORES,
        "chips": -(-cores // CORES),
        "tiles": -(-cores // 4),
        "limits": [
            {"name": "neurons_per_core", "value": limit, "unit": "neurons", "source": MICRO, "grade": "S"},
            {"name": "synapse_bits_per_core", "value": MEMORY_BITS, "unit": "bit", "source": MICRO, "grade": "S"},
        ],
        "pieces": pieces,
        "busy_s": {str(i): 1e-6 * (1 + i % 7) for i in range(cores)},
    }


def _profile(
    name: str, counts: dict[str, float], time_steps: int, depth: int, mappings: dict[str, Any]
) -> dict[str, Any]:
    title, mapping, technology, factor, (static, host), ends, step = LISTS[name]
    latency = None if step is None else (time_steps + depth) * step
    seconds = 0.0 if step is None else time_steps * step
    joules: dict[str, Any] | None = None
    if factor is not None:
        joules = {term: factor * price * counts[term] for term, price in DAVIES.items()}
        joules |= {"static": static * seconds, "host": host * seconds}
        if name == "loihi1-sanafe":
            joules = {
                "synaptic_operations_conv": joules["synaptic_operations"],
                "synaptic_operations_dense": 1e-8,
                "neuron_updates": 51.2e-12 * counts["neuron_updates"],
                "active_updates": 21.6e-12 * counts["active_updates"],
                "spikes": 69.3e-12 * counts["spikes"],
                "messages": 111e-12 * counts["messages"],
                "hops_x": joules["hops_x"],
                "hops_y": joules["hops_y"],
            }
        joules["total"] = sum(joules.values())
    total = joules and joules["total"]
    dynamic = total and total - (static + host) * seconds
    return {
        "chip": title,
        "mapping": mapping,
        "technology": technology,
        "evidence": "pre-silicon estimates at 0.75 V; a SOP is a minimum, a time a maximum",
        "counts": counts if mapping else counts | dict.fromkeys(("messages", "hops", "hops_x", "hops_y")),
        "energy_j": joules,
        "dynamic_j": dynamic,
        "energy_range_j": {"low": total * ends[0], "high": total * ends[1]} if ends and total else None,
        "energy_spread_j": dynamic and {"std": 0.08 * dynamic, "min": 0.8 * dynamic, "max": 1.3 * dynamic},
        "time_per_step_s": step and {"mean": step, "min": 0.9 * step, "max": 1.2 * step},
        "time_per_step_range_s": step and ends and {"low": 0.5 * step, "high": 2 * step},
        "busiest": _busiest(step) if mapping and step else None,
        "latency_s": latency,
        "throughput_hz": 1 / seconds if seconds else None,
        "energy_delay_product_js": total * latency if total and latency else None,
        "unpriced": [
            "The encoder on the host, which turns real values into spikes: shown by itself, in another technology.",
            "The barrier that ends a time step: its energy is not published.",
            "Spikes that enter and leave the chip, and the reset of the membranes between two samples.",
        ],
        "sources": [
            _source(term, round(price * 1e12, 3), "pJ", f"{MICRO}, table 2")
            for term, price in (DAVIES.items() if factor is not None else ())
        ],
    }


def _baseline(counts: dict[str, float], rate: float, wins: str | None) -> dict[str, Any]:
    rows = []
    for name, (ann_j, snn_j, break_even) in ANNS.items():
        if wins == "snn":
            ann_j, break_even = 3 * snn_j, 3 * rate
        if wins == "ann":
            ann_j, break_even = snn_j / 2.4, 0.2 * rate
        winner = "snn" if snn_j < ann_j else "ann"
        word = "beats" if winner == "snn" else "loses to"
        factor = max(ann_j, snn_j) / min(ann_j, snn_j)
        rows.append(
            {
                "name": name,
                "arithmetic": name.split(",")[0].lower(),
                "zero_skipping": "zeros" in name,
                "memory": "memory" in name,
                "ann_j": ann_j,
                "snn_j": snn_j,
                "wins": winner,
                "ratio": ann_j / snn_j,
                "spikes_per_synapse": rate,
                "break_even_spikes_per_synapse": break_even,
                "sentence": f"The SNN {word} the ANN ({name}) by {factor:.2g}x; below {break_even:.2g} it wins.",
            }
        )
    return {
        "technology": "45 nm",
        "macs": 987_800,
        "network_macs": 973_976,
        "encoder_macs": 13_824,
        "max_pool_inputs": 14_080,
        "caution": "Chip energies and 45 nm energies are never divided by each other.",
        "unpriced": ["Bias, ReLU and the comparisons of max-pooling.", "Static power, control and the host."],
        "sources": [_source("int8", 0.23, "pJ", f"{HOROWITZ}: INT8 multiply 0.2 pJ + add 0.03 pJ")],
        "rows": rows,
        "warning": None,
    }


def _source(term: str, value: float, unit: str, source: str) -> dict[str, Any]:
    nothing = dict.fromkeys(("low", "high", "note"))
    return {"term": term, "value": value, "unit": unit, "source": source, "grade": "S", **nothing}


def _spread(mean: float) -> dict[str, float]:
    return {"mean": mean, "std": 0.08 * mean}


def _busiest(step: float) -> dict[str, Any]:
    return {
        "core": 3,
        "population": "cells.0.n1",
        "phase": "receiver",
        "seconds": 0.8 * step,
        "barrier_s": 0.2 * step,
    }
