"""Inputs without labels: random ones the same every time, those of a file, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from spikeport.errors import InputError
from spikeport.search.data.datasets import load_dataset
from spikeport.search.pipeline import find_cell
from spikeport.search.settings.run import choose


def test_random_images_are_the_same_every_time() -> None:
    first, again = load_dataset("random:2x4x6"), load_dataset("random:2x4x6")
    assert first.test_images.shape == (128, 2, 4, 6) and first.test_images.dtype == np.float32
    assert first.test_images.min() >= 0 and first.test_images.max() < 1
    assert first.sha256 == again.sha256 and not first.labelled and first.classes == 0
    assert first.notes == ("images are random, uniform in 0..1",)


def test_random_events_are_frames_of_spikes() -> None:
    events = load_dataset("random:2x4x6,spikes", time_steps=3)
    assert events.test_images.shape == (128, 3, 2, 4, 6) and events.frames == 3
    assert set(np.unique(events.test_images)) == {0, 1} and 0.19 < events.test_images.mean() < 0.21


def test_a_file_of_images(tmp_path: Path) -> None:
    pixels = np.array([0, 51, 255, 102], np.uint8).reshape(1, 1, 2, 2)
    np.save(tmp_path / "pixels.npy", pixels)
    np.save(tmp_path / "values.npy", pixels.astype(np.float64) - 100)
    assert load_dataset(f"inputs:{tmp_path}/pixels.npy").test_images.ravel().tolist() == [
        0,
        np.float32(0.2),
        1,
        np.float32(0.4),
    ]
    assert load_dataset(f"inputs:{tmp_path}/values.npy").test_images.ravel().tolist() == [-100, -49, 155, 2]


def test_a_file_of_events(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).random((2, 3, 1, 4, 4)) < 0.5
    np.save(tmp_path / "events.npy", frames)
    loaded = load_dataset(f"inputs:{tmp_path}/events.npy", time_steps=3)
    assert loaded.frames == 3 and (loaded.test_images == frames).all() and loaded.test_images.dtype == np.uint8


@pytest.mark.parametrize(
    ("array", "steps", "said"),
    [
        (np.zeros((2, 3)), None, r"must hold images \[N, C, H, W\] or frames of spikes .*, but is float64 \[2, 3\]"),
        (np.full((1, 2, 1, 2, 2), 2), 2, "must hold frames of spikes, 0 or 1, but has other values"),
        (np.zeros((1, 2, 1, 2, 2)), 3, "has frames of 2 steps, but the network has 3"),
        (np.full((1, 1, 2, 2), np.nan), None, "every pixel must be finite"),
    ],
)
def test_a_file_that_holds_something_else(array: np.ndarray, steps: int | None, said: str, tmp_path: Path) -> None:
    np.save(tmp_path / "given.npy", array)
    with pytest.raises(InputError, match=said):
        load_dataset(f"inputs:{tmp_path}/given.npy", time_steps=steps)


@pytest.mark.parametrize("name", ["random:3x32", "random:3x0x4", "random:axbxc", "random:3x4x4,noise"])
def test_random_inputs_of_no_size(name: str) -> None:
    with pytest.raises(InputError, match=r"^Random inputs need channels, rows and columns, random:3x32x32, but got"):
        load_dataset(name)


def test_random_events_need_steps() -> None:
    with pytest.raises(InputError, match="Random events need time steps"):
        load_dataset("random:3x4x4,spikes")


def test_nothing_is_trained_on_them() -> None:
    with pytest.raises(InputError, match="whose classes are known, which 'random:1x8x8' does not say"):
        find_cell(choose(dataset="random:1x8x8", channels=2, cells=3))
