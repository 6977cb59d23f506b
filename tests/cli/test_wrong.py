"""Whatever a command is given instead of what it reads: one line that says what it is, and which command wants it.

Each line names the file or the value and the next step; nothing is written, and NumPy's advice to unpickle stays out.
"""

import errno
import io
import json
import os
import stat
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from spikeport.deploy.cost.profiles import FOLDER
from spikeport.deploy.mapping.capacity import CHIPS
from spikeport.search.space.genotype import random_genotype, to_json
from spikeport.tests.cli.invoking import invoke, objects
from spikeport.tests.deploy.report.made_up import check, energy_json

GOLDEN = Path(__file__).parents[1] / "golden"
ONNX = bytes([8, 10, 0x12, 7]) + b"pytorch"
NET = "runs/a/export/loihi/network.net"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a file of every kind, and a run whose files are made up."""
    monkeypatch.chdir(tmp_path)
    with np.load(GOLDEN / "recurrent.npz") as arrays:
        net, spikes = arrays["net"].tobytes(), arrays["spikes"]
    genotype = to_json(random_genotype(np.random.default_rng(0), "plain"))
    texts: dict[str, str] = {
        "runs/a/manifest.json": json.dumps({"command": "spikeport search", "settings": {}}),
        "runs/a/search/genotype.json": genotype,
        "runs/a/model/metrics.json": json.dumps({"test_accuracy": 0.9, "parameters": 3}),
        "runs/a/deploy/energy.json": json.dumps(energy_json(cells=1)),
        "runs/a/deploy/equivalence.json": json.dumps({"verdict": "pass", "checks": [check()]}),
        "runs/b/manifest.json": "{}",
        "runs/bad/manifest.json": "{}",
        "runs/bad/model/metrics.json": "{}",
        "runs/bad/deploy/equivalence.json": '{"verdict": "pass", "checks": [1]}',
        "runs/few/manifest.json": "{}",
        "runs/few/model/metrics.json": "{}",
        "runs/few/deploy/equivalence.json": json.dumps({"verdict": "pass", "checks": [check()]}),
        "runs/few/deploy/energy.json": '{"profiles": {}, "per_population_profile": "x"}',
        "genotype.json": genotype,
        "settings.toml": "[network]\nchannels = 2\n",
        "chip.toml": (CHIPS / "loihi1.toml").read_text(),
        "prices.toml": (FOLDER / "truenorth.toml").read_text(),
        "nochip.toml": (FOLDER / "loihi1-sanafe.toml")
        .read_text()
        .replace('"loihi1-sanafe"', '"x"')
        .replace('"loihi1"', '"y"'),
        "long.toml": f"x = {'1' * 5000}",
        "list.json": "[1]",
        "pointer.net": "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
        "page.html": "<!DOCTYPE html><p>",
        "notes.md": "plain words\n",
        "odd\nname\x1b[31m.net": "x",
        "empty.net": "",
        "empty.npy": "",
    }
    for name, text in texts.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    Path("runs/a/export/loihi").mkdir(parents=True)
    Path("runs/a/export/onnx").mkdir()
    Path("runs/a/export/onnx/model.onnx").write_bytes(ONNX)
    for name in (NET, "some.net", "a[b]:smile:.net"):
        Path(name).write_bytes(net)
    Path("cut.net").write_bytes(net[:300])
    with h5py.File("other.net", "w") as file:
        file["x"] = 1
    Path("model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    Path("picture.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    np.save("spikes.npy", spikes)
    np.save("words.npy", np.array(["a"]))
    Path("objects.npy").write_bytes(objects())
    np.save("other.npy", spikes[..., :-1])
    np.savez("spikes.npz", spikes=spikes)
    Path("cut.npy").write_bytes(Path("spikes.npy").read_bytes()[:150])
    Path("pickle.npy").write_bytes(b"\x80\x04}\x94.")
    head = b"{'descr': '|u1', 'fortran_order': False, 'shape': (9999999999, 99999), }".ljust(117) + b"\n"
    Path("huge.npy").write_bytes(b"\x93NUMPY\x01\0v\0" + head)
    Path("long.npy").write_bytes(b"\x93NUMPY\x02\0" + (20000).to_bytes(4, "little") + b" " * 20000)
    Path("here").mkdir()
    return tmp_path


RUN_SPIKES = ("run", "some.net", "--input", "spikes.npy")
PRICE_SPIKES = ("energy", "some.net", "--spikes", "spikes.npy")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("inspect", "runs/a"), f"'runs/a' is a run folder, but inspect reads a NetX file (HDF5); its NetX file is "
         f"'{NET}' (`spikeport inspect {NET}`)."),
        (("inspect", "runs/a/export/loihi"), f"is an export folder of a run, but inspect reads a NetX file (HDF5); its "
         f"NetX file is '{NET}'"),
        (("inspect", "runs/b"), "it was not exported for a chip: `spikeport export runs/b --target loihi` does."),
        (("inspect", "runs"), "'runs' is a folder of runs, but inspect reads a NetX file (HDF5); name one of them, as"),
        (("inspect", "here"), "'here' is a folder that holds no run, but"),
        (("inspect", "runs/a/export/onnx/model.onnx"), f"is an ONNX file, but inspect reads a NetX file (HDF5); its "
         f"NetX "
         f"file is '{NET}'"),
        (("inspect", "genotype.json"), "is a genotype, but inspect reads a NetX file (HDF5); `spikeport fit "
         "genotype.json`"
         " and `spikeport search --genotype genotype.json` read it."),
        (("inspect", "runs/a/deploy/energy.json"), "is the energy.json of a run, but"),
        (("inspect", "runs/a/deploy/equivalence.json"), "is the equivalence.json of a run, but"),
        (("inspect", "runs/a/model/metrics.json"), "is the metrics.json of a run, but"),
        (("inspect", "settings.toml"), "is a settings file, but inspect reads a NetX file (HDF5); `spikeport search "
         "--settings settings.toml` reads it."),
        (("inspect", "chip.toml"), "is the limits of a chip, but inspect reads a NetX file (HDF5); `spikeport fit "
         "NETWORK "
         "--chip chip.toml` reads it."),
        (("inspect", "prices.toml"), "is a price list, but inspect reads a NetX file (HDF5); `spikeport energy NETWORK "
         "--profiles prices.toml` reads it."),
        (("inspect", "model.safetensors"), "is a file of weights (safetensors), but"),
        (("inspect", "picture.png"), "is an image, but"),
        (("inspect", "page.html"), "is a page or drawing for people, but"),
        (("inspect", "empty.net"), "'empty.net' is an empty file, but inspect reads a NetX file (HDF5); write or copy"),
        (("inspect", "pointer.net"), "is a Git LFS pointer, but inspect reads a NetX file (HDF5); fetch the file "
         "that it "
         "stands for: `git lfs pull`."),
        (("inspect", "odd\nname\x1b[31m.net"), r"'odd\nname\x1b[31m.net' is a text file, but"),
        (("inspect", "no\nname"), r"There is no 'no\nname'; give a NetX file"),
        (("inspect", "/dev/zero"), "'/dev/zero' is no regular file, but"),
        (("inspect", "other.net"), "this HDF5 file has none; `spikeport export --target loihi` writes one."),
        (("inspect", "cut.net"), "'cut.net' is a damaged HDF5 file"),
        (("inspect", "some.net", "--json", "--layers", 0), "`1 <= layers <= 4` must hold"),
        (("run", "runs/a", "--input", "spikes.npy"), f"(`spikeport run {NET} --input ARRAY.npy`)."),
        (("run", "some.net", "--input", "spikes.npz"), "'spikes.npz' is a file of several arrays (.npz), but run "
         "--input "
         "reads an array that numpy.save wrote; save one of its arrays by itself: numpy.save("),
        (("run", "some.net", "--input", "pickle.npy"), "'pickle.npy' is a pickle, which may run any code, but"),
        (("run", "some.net", "--input", "objects.npy"), "'objects.npy' is an array (.npy), but damaged, cut short or"),
        (("run", "some.net", "--input", "cut.npy"), "'cut.npy' is an array (.npy), but damaged, cut short or of"),
        (("run", "some.net", "--input", "huge.npy"), "'huge.npy' is an array (.npy), but damaged, cut short or of"),
        (("run", "some.net", "--input", "long.npy"), "'long.npy' is an array (.npy), but damaged, cut short or of"),
        (("run", "some.net", "--input", "words.npy"), "it must hold numbers, but holds <U1"),
        (("run", "some.net", "--input", "empty.npy"), "'empty.npy' is an empty file, but"),
        (("run", "some.net", "--input", "here"), "'here' is a folder that holds no run, but run --input reads an arra"),
        ((*RUN_SPIKES, "--out", "here"), "'here' is a folder, but a file is to be written; name one in it."),
        ((*RUN_SPIKES, "--out", "notes.md/x"), "'notes.md/x' cannot be written, because 'notes.md' is a file; name"),
        ((*RUN_SPIKES, "--out", "/dev/null"), "'/dev/null' is no regular file, so it is not written over; name anothe"),
        (("energy", "genotype.json"), "'genotype.json' is a genotype, but energy reads a run folder or a NetX file;"),
        (("energy", "runs/a/deploy/energy.json"), "it belongs to the run 'runs/a'."),
        (("energy", "some.net", "--spikes", "spikes.npz"), "'spikes.npz' is a file of several arrays (.npz), but ener"),
        (("energy", "some.net", "--spikes", "other.npy"), "some.net reads spikes [S, T, "),
        ((*PRICE_SPIKES, "--profiles", "settings.toml"), "'settings.toml' is a settings file, but --profiles reads a"),
        ((*PRICE_SPIKES, "--profiles", "here"), "'here' is a folder that holds no run, but --profiles reads a price l"),
        ((*PRICE_SPIKES, "--profiles", "gone.toml"), "There is no 'gone.toml'; give a price list (TOML)."),
        ((*PRICE_SPIKES, "--profiles", "long.toml"), "'long.toml' must be TOML, but is not (Exceeds the limit"),
        ((*PRICE_SPIKES, "--profiles", "nochip.toml"), "The profile 'x' names a chip that cannot be read: Unknown"),
        ((*PRICE_SPIKES, "--profiles", "speck,speck"), "but two are 'speck'; name it once, or rename one."),
        ((*PRICE_SPIKES, "--out", "here"), "'here' is a folder, but a file is to be written"),
        (("fit", "runs/a/deploy/energy.json"), "but fit reads a run folder, a NetX file or a genotype; it belongs "
         "to the "
         "run 'runs/a'."),
        (("fit", "spikes.npy"), "'spikes.npy' is an array (.npy), but fit reads"),
        (("fit", "list.json"), "'list.json': A genotype must have exactly the keys primitives, normal, reduce"),
        (("fit", "genotype.json", "--chip", "prices.toml"), "'prices.toml' is a price list, but --chip reads the limi"),
        (("fit", "genotype.json", "--chip", "here"), "'here' is a folder that holds no run, but --chip reads the limi"),
        (("fit", "genotype.json", "--channels", 10**30), "`channels < 2 ** 63` must hold"),
        (("fit", "genotype.json", "--input-shape", "1x8x8", "--channels", 10**14), "This takes more memory than there"),
        (("export", "some.net"), "'some.net' is an HDF5 file, as NetX is, but a run folder is needed here; `spikeport "
         "inspect some.net` reads it"),
        (("export", "genotype.json"), "'genotype.json' is a genotype, but a run folder is needed here;"),
        (("export", "runs"), "'runs' is a folder of runs, but a run folder is needed here; name one of them, as runs/"),
        (("export", "runs/a"), "has no trained network; finish it with `spikeport search --resume --out runs/a`."),
        (("deploy", "runs/a/export/loihi"), "is an export folder of a run, but a run folder is needed here; it belong"),
        (("deploy", "notes.md"), "'notes.md' is a text file, but a run folder is needed here;"),
        (("deploy", "runs/a", "--accuracy-drop", "nan"), "`accuracy_drop` must be a finite number"),
        (("deploy", "runs/a", "--lava-limit-s", "inf"), "`lava_limit_s` must be a finite number"),
        (("report", "page.html"), "'page.html' is a page or drawing for people, but a run folder is needed here;"),
        (("report", "runs/bad"), "'runs/bad/deploy/equivalence.json' must have verdict and checks, a list of tables;"),
        (("report", "runs/few"), "'runs/few': energy.json lacks the keys samples, time_steps, depth and"),
        (("report", "runs/a", "runs/few"), "'runs/few': energy.json lacks the keys samples, time_steps, depth and"),
        (("report", "runs/a", "runs/b", "--out", "here"), "'here' is a folder, but a file is to be written"),
        (("demo", "--out", "notes.md"), "'notes.md' cannot be a run folder, because 'notes.md' is a file"),
    ],
)  # fmt: skip
def test_one_line_and_nothing_written(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    folder: Path,
    words: tuple[object, ...],
    said: str,
) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert invoke(monkeypatch, *words, "--quiet") == 1
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("spikeport: ")
    assert said in err
    assert "allow_pickle" not in err and "write it again" not in err and "\x1b" not in err
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == before


def test_markdown_does_not_take_the_place_of_the_page(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("c", "d"):
        (Path("runs") / name).symlink_to("a")
    assert invoke(monkeypatch, "report", "runs/a", "runs/few", "--out", "compared.html") == 1
    assert "lacks the keys" in capsys.readouterr().err
    assert invoke(monkeypatch, "report", "runs/a", "runs/few", "--out", "compared.md") == 1  # before they are read
    assert "'compared.md' is where its Markdown goes; give the HTML another ending" in capsys.readouterr().err
    assert not Path("compared.md").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("run", NET, "--input", "spikes.npy"),
        ("energy", NET, "--spikes", "spikes.npy"),
        ("report", "runs/a", "runs/b"),
        ("search",),
        ("demo",),
    ],
    ids=lambda words: words[0],
)
def test_where_nothing_can_be_written_is_said_before_the_work(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo("pipe")
    Path("lost").symlink_to("none/x")
    for out in ("pipe", "lost", "notes.md/x", "x" * 300):
        assert invoke(monkeypatch, *words, "--out", out) == 1
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and f"'{out}'" in said, said
    assert stat.S_ISFIFO(Path("pipe").stat().st_mode) and Path("lost").is_symlink()


def test_names_mean_what_they_say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(monkeypatch, "inspect", "a[b]:smile:.net") == 0
    assert capsys.readouterr().out.startswith("a[b]:smile:.net: pass\n")


def test_a_netx_file_by_any_name(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Path("some.net").rename("some.hdf5")
    assert invoke(monkeypatch, "fit", "some.hdf5", "--quiet") == 0
    assert invoke(monkeypatch, "energy", "some.hdf5", "--spikes", "spikes.npy", "--quiet") == 0


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sys, "stdout", Full())
    assert invoke(monkeypatch, "inspect", "some.net") == 1
    assert capsys.readouterr().err == "spikeport: No space left on device; make room and run the command again.\n"
