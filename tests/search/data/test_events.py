"""Events of made-up recordings, binned by hand, and every way in which a file can be wrong."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikeport.errors import InputError
from spikeport.search.data import events as module
from spikeport.search.data.augmentation import Augmentation
from spikeport.search.data.datasets import load_dataset
from spikeport.search.data.events import binned, read_events
from spikeport.search.settings.run import choose
from spikeport.search.space.network import network_config

# Recording 0 has seven events from 100 to 199 us, 1 has none, 2 has one.
GOOD: dict[str, Any] = {
    "t_us": np.array([100, 149, 150, 150, 199, 199, 120, 7], np.int32),
    "x": np.array([0, 1, 2, 2, 4, 4, 0, 3], np.uint8),
    "y": np.array([0, 0, 1, 1, 2, 2, 0, 1], np.uint8),
    "p": np.array([0, 1, 1, 1, 0, 1, 0, 1], np.uint8),
    "offsets": np.array([0, 7, 7, 8]),
    "labels": np.array([0, 1, 0], np.uint8),
}
SPIKES = [  # recording, step, polarity, row, column
    (0, 0, 0, 0, 0),  # 100 and, out of order, 120: one spike of two events
    (0, 0, 1, 0, 1),  # 149, the last microsecond of the first half
    (0, 1, 0, 2, 4),
    (0, 1, 1, 1, 2),  # twice at 150
    (0, 1, 1, 2, 4),
    (2, 0, 1, 1, 3),  # a single event is the first and the last
]


def saved(path: Path, **changes: Any) -> Path:
    np.savez(path, **{name: values for name, values in (GOOD | changes).items() if values is not None})
    return path


def name_of(tmp_path: Path, **changes: Any) -> str:
    saved(tmp_path / "train.npz")
    return f"events:{tmp_path / 'train.npz'},{saved(tmp_path / 'test.npz', **changes)}"


def test_binned_by_hand(tmp_path: Path) -> None:
    frames = binned(read_events(saved(tmp_path / "a.npz")), 2, (3, 5))
    assert (frames.shape, frames.dtype, int(frames.max())) == ((3, 2, 2, 3, 5), np.uint8, 1)
    assert [tuple(place) for place in np.argwhere(frames).tolist()] == SPIKES


def test_three_steps_have_equal_spans(tmp_path: Path) -> None:
    """100 us in three: steps begin at the first microseconds t with 3 (t - 100) >= 100 and 200."""
    t = np.array([100, 133, 134, 166, 167, 199])
    one = dict.fromkeys("xyp", np.zeros(6, np.uint8)) | {"x": np.arange(6)}
    file = saved(tmp_path / "a.npz", t_us=t, **one, offsets=np.array([0, 6]), labels=np.array([0]))
    assert np.argwhere(binned(read_events(file), 3, (1, 6)))[:, [1, 4]].tolist() == [
        [0, 0],
        [0, 1],
        [1, 2],
        [1, 3],
        [2, 4],
        [2, 5],
    ]


def test_events_of_one_row_are_signals(tmp_path: Path) -> None:
    row = np.zeros_like(GOOD["y"])
    name_of(tmp_path, y=row)
    saved(tmp_path / "train.npz", y=row)
    dataset = load_dataset(f"events:{tmp_path / 'train.npz'},{tmp_path / 'test.npz'}", time_steps=2)
    assert dataset.input_shape == (2, 1, 8)
    assert "padded from 1x5 to 1x8" in dataset.notes[1]


def test_the_data_set(tmp_path: Path) -> None:
    dataset = load_dataset(name_of(tmp_path, x=GOOD["x"][::-1]), time_steps=2)
    assert dataset.train_images.shape == dataset.test_images.shape == (3, 2, 2, 4, 8)
    assert dataset.train_images.dtype == np.uint8
    assert (dataset.input_shape, dataset.frames, dataset.classes) == ((2, 4, 8), 2, 2)
    assert dataset.notes[1:] == (
        "frames are padded from 3x5 to 4x8 pixels without events, to be halved twice",
    )  # pixels and times stay where they are: what is added is below and to the right
    assert [tuple(place) for place in np.argwhere(dataset.train_images).tolist()] == SPIKES
    assert load_dataset(dataset.name, time_steps=2).sha256 == dataset.sha256
    assert load_dataset(dataset.name, time_steps=3).sha256 != dataset.sha256


def test_frames_that_fit_are_not_padded(tmp_path: Path) -> None:
    name = name_of(tmp_path, x=np.arange(8), y=np.arange(8))  # the test file alone has more pixels
    dataset = load_dataset(name, time_steps=1)
    assert dataset.input_shape == (2, 8, 8) and len(dataset.notes) == 1


def test_time_steps_must_be_said_and_be_those_of_the_network(tmp_path: Path) -> None:
    name = name_of(tmp_path)
    with pytest.raises(InputError, match=r"binned into time steps; say how many, load_dataset\(name, time_steps=8\)"):
        load_dataset(name)
    settings, dataset = choose(time_steps=3, dataset=name), load_dataset(name, time_steps=2)
    with pytest.raises(InputError, match=r"network's 3 time steps, but '.*' has 2 frames; load it with time_steps=3"):
        network_config(settings.network, dataset)
    config = network_config(choose(time_steps=2).network, dataset)
    assert (config.reads, config.sample_shape) == ("spikes", (2, 2, 4, 8))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"p": None}, r"must hold the arrays `t_us` and `x` and `y` and `p` and `offsets` and `labels`"),
        ({"t_us": GOOD["t_us"] / 1e6}, r"`t_us` must be integers in a row, but is float64 \(8,\)"),
        ({"x": GOOD["x"][None]}, r"`x` must be integers in a row, but is uint8 \(1, 8\)"),
        ({"labels": np.array([True, False, True])}, r"`labels` must be integers in a row, but is bool \(3,\)"),
        ({"y": GOOD["y"][1:]}, r"must have a number for each event, but have .*'y': 7"),
        ({"t_us": GOOD["t_us"] - 8}, r"`0 <= t_us < 9007199254740992` must hold, but t_us goes from -1 to 191"),
        ({"x": GOOD["x"].astype(int) * 1024}, r"`0 <= x < 4096` must hold, but x goes from 0 to 4096"),
        ({"p": GOOD["p"].astype(int) * 2 - 1}, r"`0 <= p < 2` must hold, but p goes from -1 to 1"),
        ({"labels": np.array([0, -1, 1])}, r"`labels` must be a class from 0 for each recording, but is \[0, -1, 1\]"),
        ({"labels": np.array([], int), "offsets": np.array([0])}, r"`labels` must be a class from 0"),
        ({"labels": np.array([0, 1])}, r"`offsets` must be the 3 places .* but is 4 numbers from 0 to 8"),
        ({"offsets": np.array([0, 7, 6, 8])}, r"none may be lower than the one before"),
        ({"offsets": np.array([1, 7, 7, 8])}, r"from 0 up to 8, but is 4 numbers from 1 to 8"),
        ({"offsets": np.array([0, 7, 7, 9])}, r"from 0 up to 8, but is 4 numbers from 0 to 9"),
        ({"offsets": np.array([], int)}, r"`offsets` must be the 4 places .* but is 0 numbers;"),
        ({"labels": np.array([0, 1, 2])}, r"must hold at least two classes and every class of .* lacks \[2\]"),
        ({"p": np.array([None] * 8)}, r"must be an .npz file of plain arrays, .* holds Python objects"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, changes: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match) as error:
        load_dataset(name_of(tmp_path, **changes), time_steps=2)
    assert "test.npz" in str(error.value)


@pytest.mark.parametrize("argument", ["{0}/train.npz", "{0}/train.npz,", "{0}/train.npz,{0}/test.npz,{0}/c.npz"])
def test_two_files_are_needed(tmp_path: Path, argument: str) -> None:
    with pytest.raises(InputError, match=r"needs two files, events:TRAIN.npz,TEST.npz, but got 'events:"):
        load_dataset(f"events:{argument.format(tmp_path)}", time_steps=2)


def test_another_kind_of_file(tmp_path: Path) -> None:
    np.save(tmp_path / "train.npy", GOOD["x"])
    with pytest.raises(InputError, match=r"train.npy' is .* but search --dataset events: reads"):
        load_dataset(f"events:{tmp_path / 'train.npy'},{tmp_path / 'train.npy'}", time_steps=2)


def test_frames_that_no_memory_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = name_of(tmp_path)
    monkeypatch.setattr(module, "MOST_BYTES", 3 * 2 * 2 * 4 * 8 - 1)
    with pytest.raises(InputError, match=r"train.npz' makes frames \[3, 2, 2, 4, 8\].* take fewer --time-steps"):
        load_dataset(name, time_steps=2)


def test_all_frames_of_a_recording_are_changed_alike() -> None:
    rng = np.random.default_rng(0)
    frames = (rng.random((20, 3, 2, 7, 9)) < 0.5).astype(np.uint8)
    augmentation = Augmentation(shift=1, crop=2, flip=True, cutout=4)
    draws = augmentation.draw(rng, 20, 7, 9)
    found = augmentation.apply(frames, draws)
    assert found.shape == frames.shape and (found != frames).any() and set(np.unique(found)) == {0, 1}
    for step in range(3):
        assert np.array_equal(found[:, step], augmentation.apply(frames[:, step], draws))
