"""A folder as SpikeNAS-Bench has it, made here: its own is not shipped."""

from pathlib import Path

import pytest

from spikeport.errors import InputError
from spikeport.search.evaluators.from_spikenas_bench import BENCH_SPACE, BenchEvaluator
from spikeport.search.tables.spikenas_bench import CELLS, FILE, code_of, number_of, read_bench


def written(folder: Path, number: int, *, epochs: int = 4, end: str = "\r\n", test: str = "81.250") -> Path:
    """One training, which gets better by a percent an epoch."""
    lines = [f"architecture id: {number}", f"model parameters: {1000 + number}"]
    lines += ["epoch, train_acc, train_loss, val_acc, val_loss"]
    lines += [f"{e:.3f}, {50 + e:.3f}, 1.{e}00, {number % 50 + e:.3f}, 1.250" for e in range(epochs)]
    lines += [f"test accuracy: {test}", "firing rate of layers: -1.000, 0.125, 0.250"]
    path = folder / str(number) / FILE
    path.parent.mkdir(parents=True)
    path.write_bytes((end.join([*lines, "Elapsed time: 1.0hour7.0minute38.5second"]) + end).encode())
    return path


def test_numbers_are_codes_with_the_first_edge_last() -> None:
    assert code_of(0) == (0, 0, 0, 0, 0, 0) and code_of(CELLS - 1) == (4, 4, 4, 4, 4, 4)
    assert code_of(1) == (1, 0, 0, 0, 0, 0) and code_of(5 + 2 * 625) == (0, 1, 0, 0, 2, 0)
    assert all(number_of(code_of(number)) == number for number in range(0, CELLS, 97))
    with pytest.raises(InputError, match=r"must have a number in 0 [.]{2} 15624, but has 15625"):
        code_of(CELLS)


@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_a_row(tmp_path: Path, end: str) -> None:
    written(tmp_path, 12, end=end)
    row = read_bench(tmp_path)[12]
    assert (row.parameters, row.test_accuracy, row.rates) == (1012, 0.8125, (None, 0.125, 0.25))
    assert row.val_accuracy == (0.12, 0.13, 0.14, 0.15) and row.train_accuracy[-1] == 0.53
    assert row.seconds == 3600 + 7 * 60 + 38.5


def test_it_is_searched_by_look_up(tmp_path: Path) -> None:
    for number in range(25):
        written(tmp_path, number, epochs=8 if number == 7 else 4)
    evaluator = BenchEvaluator.of(tmp_path)
    assert (evaluator.epochs, evaluator.missing) == (4, CELLS - 25)
    assert evaluator(code_of(9), 0, 0).objectives == {"accuracy": 0.12}
    assert evaluator(code_of(9), 2, 0).objectives == {"accuracy": 0.10}
    assert len(evaluator(code_of(7), 2, 0).curve) == 4  # of twice as many epochs, the same share
    with pytest.raises(InputError, match="has no cell 25; it holds 25"):
        evaluator(code_of(25), 0, 0)
    assert BENCH_SPACE.key(code_of(24)) == "24" and len(BENCH_SPACE.neighbours(code_of(0))) == 24


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("architecture id: 3", "architecture id: 4", "must be of cell 3, one of 15625, but is of cell 4"),
        ("model parameters: 1003", "", "'model' is expected where '' stands"),
        ("train_acc,", "train,", "line 3 is not 'epoch, train_acc"),
        ("2.000, ", "5.000, ", "its epochs are not lines of five numbers that count from 0"),
        ("1.200", "nan", "'nan' is no number"),
        ("81.250", "181.250", "an accuracy is not in 0 .. 100 percent"),
        ("test accuracy: 81.250", "", "its epochs are not lines|could not convert"),
        ("hour7.0minute", "h", "its time is"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = written(tmp_path, 3)
    text = path.read_bytes().decode()
    assert old in text
    path.write_bytes(text.replace(old, new).encode())
    with pytest.raises(InputError, match=message) as raised:
        read_bench(tmp_path)
    assert str(path) in str(raised.value)


def test_a_folder_without_any(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="but has none; name one of a data set"):
        read_bench(tmp_path)
    with pytest.raises(InputError, match="There is no folder"):
        read_bench(tmp_path / "none")
