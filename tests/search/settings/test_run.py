import json
from typing import Any

import pytest

from spikeport.errors import InputError
from spikeport.search.data.datasets import load_dataset
from spikeport.search.settings.network import NetworkSettings
from spikeport.search.settings.run import TABLES, changed, choose, settings_from_dict
from spikeport.search.space.network import network_config
from spikeport.setting import settings_of


def test_survives_json() -> None:
    settings = choose(primitives="plain", time_steps=4, seed=9)
    assert settings_from_dict(json.loads(json.dumps(settings.to_dict()))) == settings


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"time_steps": 0}, r"^`time_steps >= 1` must hold, but got time_steps=0\.$"),
        ({"cells": 2}, r"`cells >= 3` must hold, but got cells=2"),
        ({"channels": -1}, "`channels >= 1`"),
        ({"batch_size": 0}, "`batch_size >= 1`"),
        ({"search_epochs": 0}, "`search_epochs >= 1`"),
        ({"seed": -1}, "`seed >= 0`"),
        ({"shift": -1}, "`shift >= 0`"),
        ({"sop_weight": -1.0}, "`sop_weight >= 0`"),
        ({"target_spikes": 9}, "`spike_weight > 0 with target_spikes` must hold, but got spike_weight=0.0"),
        ({"gradient_checkpointing": True, "sop_weight": 1.0}, "--gradient-checkpointing does not keep them"),
        ({"learning_rate": 0.0}, "`learning_rate > 0` must hold, but got learning_rate=0.0"),
        ({"momentum": 1.0}, "`momentum < 1`"),
        ({"validation_fraction": 0}, "`validation_fraction > 0`"),
        ({"validation_fraction": 1.0}, "`validation_fraction < 1`"),
        ({"learning_rate": float("nan")}, "`learning_rate > 0`"),
        ({"learning_rate": float("inf")}, "`learning_rate` must be a finite number, but got learning_rate=inf"),
        ({"time_steps": 2.5}, "`time_steps` must be int, but is 2.5"),
        ({"time_steps": True}, "`time_steps` must be int, but is True"),
        ({"dataset": 3}, "`dataset` must be str, but is 3"),
        ({"primitives": "big"}, "Unknown primitives 'big'; choose from darts, plain"),
        ({"supernet": "fast"}, "Unknown supernet 'fast'; choose from kernel, plain"),
        ({"attention": "se"}, "Unknown attention 'se'; choose from none, eca, cbam, tcs, sma, spike"),
        ({"attention_in": "cell"}, "Unknown attention in 'cell'; choose from search, network, both"),
        ({"level": "all"}, "Unknown level 'all'; choose from micro, macro, both"),
        ({"level": "both", "supernet": "plain"}, "--level both needs the kernel-space supernet, .*--supernet kernel"),
        ({"level": "macro", "beta_decay": 2.0}, "the cell is given, so beta_decay=2.0 has nothing to act on"),
        ({"level": "macro", "stop_at_skips": 2}, "stop_at_skips=2 has nothing to act on; leave it out or say --level"),
        (
            {"epochs": 3},
            "Unknown setting 'epochs'; did you mean '.*epochs', '.*epochs' or '.*epochs'[?] '.*epochs' belongs to",
        ),
        ({"chanels": 3}, "Unknown setting 'chanels'; did you mean 'channels', .* 'channels' belongs to \\[network\\]"),
        ({"auxiliary_weight": 0.4, "batch_size": 1}, "`batch_size >= 2 with an auxiliary_weight` must hold"),
        ({"flip": 1}, "`flip` must be bool, but is 1"),
        ({"crop": False}, "`crop` must be int, but is False"),
        ({"label_smoothing": 1.0}, "`label_smoothing < 1` must hold"),
        ({"first_size": 1.5}, "`first_size <= 1` must hold, but got first_size=1.5"),
        ({"growth_share": 2.0}, "`growth_share <= 1` must hold"),
        ({"average_decay": 1.0}, "`average_decay < 1` must hold"),
        ({"crop_filling": "white"}, "Unknown crop filling 'white'; choose from black, reflect"),
        ({"teacher_weight": 1.5}, "`teacher_weight <= 1` must hold, but got teacher_weight=1.5"),
        ({"warmup_share": 1.0}, "`warmup_share < 1` must hold"),
        ({"nesterov": True, "momentum": 0.0}, "`momentum > 0 with nesterov` must hold, but got momentum=0.0"),
        ({"schedule": "step"}, "Unknown schedule 'step'; choose from cosine, linear, constant"),
        ({"precision": "int8"}, "Unknown precision 'int8'; choose from float32, bfloat16, float16"),
        ({"search_precision": "half"}, "Unknown search precision 'half'; choose from auto, float32, bfloat16"),
        ({"search_precision": "bfloat16", "second_order": True}, "which would drown in bfloat16; use float32 or auto"),
        ({"search_precision": "bfloat16", "supernet": "plain"}, "use auto with the plain one"),
    ],
)
def test_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        choose(**change)


def test_random_paths_need_no_supernet() -> None:
    assert choose(level="both", strategy="random").network.level == "both"


@pytest.mark.parametrize(
    ("strategy", "option", "owner"),
    [
        ("random", {"supernet": "plain"}, "darts"),
        ("random", {"search_epochs": 3}, "darts"),
        ("random", {"trials": 2}, "darts"),
        ("darts", {"evaluations": 3}, "random or evolution or .*"),
    ],
)
def test_what_another_strategy_would_ignore_is_refused(strategy: str, option: dict[str, Any], owner: str) -> None:
    (name,) = option
    with pytest.raises(InputError, match=f"`{name}` belongs to the strategy {owner}, but the strategy is {strategy}"):
        choose(strategy=strategy, **option)


def test_another_strategy_rests_what_it_does_not_read() -> None:
    before = choose(supernet="plain", trials=3, channels=4, search_epochs=7)
    after = changed(before, strategy="random", evaluations=2)
    assert (after.network, after.asking.evaluations) == (before.network, 2)
    assert changed(after, strategy="darts", channels=4) == choose(channels=4)


def test_settings_of_one_strategy_are_not_those_of_another() -> None:
    with pytest.raises(InputError, match="must be darts here, but is random"):
        _ = choose(strategy="random").darts


def test_no_two_settings_share_a_name() -> None:
    names = [name for kind in TABLES.values() for name in settings_of(kind)]
    assert len(names) == len(set(names))


def test_settings_of_runs_before_there_were_tables() -> None:
    flat = {"seed": 2, "strategy": "random", "supernet": "kernel", "evaluations": 3, "channels": 4, "trials": 0}
    assert settings_from_dict(flat) == choose(seed=2, strategy="random", evaluations=3, channels=4)


def test_settings_of_runs_that_called_them_otherwise() -> None:
    before = {"network": {"channels": 4}, "strategy": {"random": {"candidates": 3}}}
    assert settings_from_dict(before) == choose(strategy="random", evaluations=3, channels=4)


@pytest.mark.parametrize(
    ("place", "kinds"), [("search", ("eca", "none")), ("network", ("none", "eca")), ("both", ("eca", "eca"))]
)
def test_attention_in(place: Any, kinds: tuple[str, str]) -> None:
    settings, dataset = choose(attention="eca", attention_in=place), load_dataset("digits")
    assert tuple(network_config(settings.network, dataset, at).attention for at in ("search", "network")) == kinds


def test_network_settings_follow_the_images() -> None:
    network = network_config(NetworkSettings(channels=5, cells=4, attention="eca"), load_dataset("digits"))
    assert (network.channels, network.cells, network.attention, network.dataset) == (5, 4, "eca", "digits")
    assert (network.input_shape, network.classes) == ((1, 8, 8), 10)
