from pathlib import Path

import pytest

from spikeport.errors import InputError
from spikeport.search.settings.file import as_toml, read_settings, resolve_settings
from spikeport.search.settings.run import SearchSettings, changed, choose

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.toml"))

RECIPE = """
seed = 4

[network]
attention = "eca"
cells = 5

[data]
flip = true

[supernet]
learning_rate = 1
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


def test_options_win_over_the_file_and_the_file_over_defaults(tmp_path: Path) -> None:
    settings = resolve_settings(write(tmp_path, RECIPE), {"cells": 4, "seed": None})
    assert settings == choose(seed=4, attention="eca", cells=4, flip=True, learning_rate=1)


def test_cifar_is_augmented_as_in_darts_unless_somebody_says_otherwise(tmp_path: Path) -> None:
    path = write(tmp_path, '[data]\ndataset = "cifar100:/data"\ncutout = 8\n')
    data = resolve_settings(path, {"flip": False}).data
    assert (data.crop, data.flip, data.cutout) == (4, False, 8)
    assert resolve_settings(None, {}) == SearchSettings()
    npz = resolve_settings(None, {"dataset": "npz:a,b"}).data
    assert (npz.crop, npz.flip, npz.cutout) == (0, False, 0)


def test_a_resumed_run_keeps_its_settings(tmp_path: Path) -> None:
    started = choose(dataset="cifar10", channels=3)
    assert resolve_settings(None, {"channels": None}, started) == started
    changed_file = write(tmp_path, "[network]\ncells = 4")  # which the run then refuses
    assert resolve_settings(changed_file, {}, started) == changed(started, cells=4)


@pytest.mark.parametrize(
    ("text", "strategy"),
    [
        ("[strategy.random]", "random"),
        ('[strategy]\nname = "random"', "random"),
        ("[strategy.darts]\nsearch_epochs = 3", "darts"),
        ("[strategy.darts]\nsearch_epochs = 3\n[strategy.random]", "darts"),
        ("", "darts"),
    ],
)
def test_the_file_names_its_strategy(tmp_path: Path, text: str, strategy: str) -> None:
    assert resolve_settings(write(tmp_path, text), {}).strategy.name == strategy


def test_a_strategy_that_is_given_rests_the_tables_of_another(tmp_path: Path) -> None:
    path = write(
        tmp_path, '[network]\nchannels = 4\n[supernet]\nsupernet = "plain"\n[strategy.darts]\nsearch_epochs = 3'
    )
    assert resolve_settings(path, {"strategy": "random"}) == choose(strategy="random", channels=4)
    with pytest.raises(InputError, match="`search_epochs` belongs to the strategy darts, but the strategy is random"):
        resolve_settings(path, {"strategy": "random", "search_epochs": 3})


def test_a_file_of_before_is_read_with_its_new_form(tmp_path: Path) -> None:
    flat = 'strategy = "darts"\nseed = 4\nchannels = 3\nsupernet = "plain"\ntrials = 2\nflip = true\n'
    path, told = write(tmp_path, flat), []
    expected = choose(seed=4, channels=3, supernet="plain", trials=2, flip=True)
    assert resolve_settings(path, {}, tell=told.append) == expected
    (note,) = told
    assert "has its settings outside of tables" in note
    (tmp_path / "new").mkdir()
    silent: list[str] = []
    new = write(tmp_path / "new", note.partition("\n")[2])
    assert resolve_settings(new, {}, tell=silent.append) == expected
    assert not silent


def test_toml_has_a_table_for_each_concern() -> None:
    text = as_toml({"seed": 1, "channels": 3, "flip": True, "dataset": 'a"b', "evolution_sample": 2}, "evolution")
    assert text == (
        'seed = 1\n\n[strategy]\nname = "evolution"\n\n[network]\nchannels = 3\n\n[data]\nflip = true\n'
        'dataset = "a\\"b"\n\n'
        "[strategy.evolution]\nevolution_sample = 2\n"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "chanels = 4",
            r"^Settings file '.*recipe.toml': Unknown setting or table 'chanels'; did you mean 'channels', ",
        ),
        ("[network]\nchanels = 4", r"Unknown setting 'chanels' in \[network\]; did you mean 'channels', "),
        ("[training]\nchannels = 4", r"`channels` must stand in \[network\], but stands in \[training\]"),
        ("[strategy.random]\nsearch_epochs = 4", r"`search_epochs` must stand in \[strategy.darts\]"),
        ("[network]\nseed = 4", r"`seed` must stand before all tables, but stands in \[network\]"),
        ("[network]\nchannels = 0", "recipe.toml': `channels >= 1` must hold, but got channels=0"),
        ('[network]\nchannels = "4"', "`channels` must be int, but is '4'"),
        ("channels = 0", "`channels >= 1` must hold, but got channels=0"),
        ("channels = 4\n[data]\nflip = true", r"`channels` must stand in its table \[network\], as others do"),
        ("[search]\nchannels = 4", "Unknown setting or table 'search'"),
        ("network = 4", r"`network` must be a table, \[network\], but is 4"),
        ("channels = ", "must be TOML, but is not"),
        ("[data]\ndataset = 3", "`dataset` must be str, but is 3"),
        ('supernet = ["plain"]', "`supernet` must be str"),
        ('[strategy]\nname = "best"', "Unknown strategy 'best'; choose from darts, random"),
        ("[strategy.best]", "Unknown strategy 'best'; choose from darts, random"),
        ("[strategy]\ndarts = 3", r"`strategy.darts` must be a table, \[strategy.darts\], but is 3"),
        (
            '[strategy]\nname = "random"\n[strategy.darts]\nsearch_epochs = 3',
            r"\[strategy.darts\] belongs to the strategy darts, but the file says name = 'random'",
        ),
        (
            "[strategy.darts]\nsearch_epochs = 0\n[strategy.evolution]\nevolution_sample = 0",
            "`search_epochs >= 1` must hold",
        ),
    ],
)
def test_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        resolve_settings(write(tmp_path, text), {})


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"There is no '.*x\.toml'; give a settings file"):
        read_settings(tmp_path / "x.toml")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples(path: Path) -> None:
    """Each can be loaded, has tables, and begins with what it costs and whether it was run."""
    assert not read_settings(path).notes
    resolve_settings(path, {})
    head = path.read_text().split("\n\n")[0]
    assert "run" in head.lower() and "cost" in head.lower()


def test_there_are_examples() -> None:
    ways = ("macro", "per_layer", "elastic", "gumbel", "pipelined", "bits", "sharpness")
    digits, cifar = ("digits", *(f"digits_{way}" for way in ways)), ("cifar10", "cifar100", "cifar10_subset")
    assert {path.stem for path in EXAMPLES} == {*digits, *cifar, "cifar10_paper", "cifar100_paper"}
