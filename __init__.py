"""spikeport: a spiking neural network from architecture search to a neuromorphic chip.

The verbs of a notebook, on plain values; each imports what it needs when it is first asked for.

    settings = spikeport.choose(dataset="digits", channels=8, cells=3, search_epochs=6)
    genotype = spikeport.find_cell(settings)                       search a cell
    network = spikeport.train(genotype, settings)                  train the network built from it
    traced = spikeport.trace(network, images[:1], time_steps=2)    or any SpikingJelly network of yours
    graph = spikeport.quantize(spikeport.lower(traced.graph), peak)
    spikeport.write_netx("network.net", graph)                     what Loihi loads
    spikes = spikeport.encode(traced.encoder, images)
    spikeport.compare(spikeport.run(graph, spikes), spikeport.run("network.net", spikes)).verdict
    energy = spikeport.price(graph, spikes)                        counts, cores, energy, latency
    spikeport.report("report.html", energy=energy)
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Threads that wait for each other shall spin for a moment, then sleep. The layers are small, so they wait often: with
# torch's usual long spinning a step of the search (benchmarks/search_step.py, 8x8) took 70 times as long beside two
# busy processes; without any it took 1.8 times as long on an idle machine. Read once, when torch is first imported.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

if TYPE_CHECKING:
    from .deploy.diagnosis.diagnose import diagnose
    from .deploy.ensemble.ensemble import ensemble
    from .deploy.equivalence.verdict import compare
    from .deploy.mapping.capacity import find_chip
    from .deploy.mapping.core_mapping import map_graph
    from .deploy.mapping.fit.verdict import fit
    from .deploy.measure import activity, count, price
    from .deploy.report.plain import figures, report
    from .deploy.run.any_form import encode, run
    from .errors import InputError, SpikeportError, ToolError, UnsupportedError
    from .export.convert import convert
    from .export.importing import import_network
    from .export.netx.reader import read_netx
    from .export.netx.writer import read_graph, write_netx
    from .export.nir.reader import read_nir
    from .export.nir.writer import write_nir
    from .export.onnx.twin import write_twin
    from .export.onnx.window import write_encoder, write_model, write_step
    from .export.passes import lower
    from .export.passes.quantize import quantize
    from .export.settings import ExportSettings
    from .export.trace.forward.steps import OverTime
    from .export.trace.neurons import Lif, register_neuron
    from .export.trace.registry import register
    from .export.trace.walk import trace
    from .export.tuning.calibrate import calibrate
    from .search.data.datasets import load_dataset
    from .search.pipeline import find_cell, run_search, train
    from .search.runs import open_run
    from .search.settings.imported import ImportSettings
    from .search.settings.run import SearchSettings, changed, choose
    from .search.space.example import example_network
    from .search.space.genotype import random_genotype
    from .search.space.network import load_network

# name -> the module that has it, in the order of the road
_PLACES = {
    "SearchSettings": "search.settings.run",
    "choose": "search.settings.run",
    "changed": "search.settings.run",
    "load_dataset": "search.data.datasets",
    "random_genotype": "search.space.genotype",
    "find_cell": "search.pipeline",
    "train": "search.pipeline",
    "run_search": "search.pipeline",
    "open_run": "search.runs",
    "load_network": "search.space.network",
    "example_network": "search.space.example",
    "ImportSettings": "search.settings.imported",
    "import_network": "export.importing",
    "trace": "export.trace.walk",
    "register": "export.trace.registry",
    "register_neuron": "export.trace.neurons",
    "Lif": "export.trace.neurons",
    "OverTime": "export.trace.forward.steps",
    "lower": "export.passes",
    "quantize": "export.passes.quantize",
    "ExportSettings": "export.settings",
    "calibrate": "export.tuning.calibrate",
    "write_netx": "export.netx.writer",
    "read_graph": "export.netx.writer",
    "read_netx": "export.netx.reader",
    "write_nir": "export.nir.writer",
    "read_nir": "export.nir.reader",
    "write_model": "export.onnx.window",
    "write_step": "export.onnx.window",
    "write_encoder": "export.onnx.window",
    "write_twin": "export.onnx.twin",
    "convert": "export.convert",
    "encode": "deploy.run.any_form",
    "run": "deploy.run.any_form",
    "compare": "deploy.equivalence.verdict",
    "diagnose": "deploy.diagnosis.diagnose",
    "count": "deploy.measure",
    "activity": "deploy.measure",
    "find_chip": "deploy.mapping.capacity",
    "map_graph": "deploy.mapping.core_mapping",
    "fit": "deploy.mapping.fit.verdict",
    "price": "deploy.measure",
    "ensemble": "deploy.ensemble.ensemble",
    "figures": "deploy.report.plain",
    "report": "deploy.report.plain",
    "SpikeportError": "errors",
    "InputError": "errors",
    "UnsupportedError": "errors",
    "ToolError": "errors",
}

__all__ = [*_PLACES]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'spikeport' has no attribute '{name}'; it has {', '.join(_PLACES)}")
    found = getattr(importlib.import_module(f".{_PLACES[name]}", __name__), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
