"""What a person sees while a command works."""

import io
from collections.abc import Iterator
from dataclasses import replace

import pytest
from rich.console import Console as RichConsole

from spikeport.console import Console
from spikeport.search.training.progress import ProgressEvent


def console(*, terminal: bool, quiet: bool = False) -> tuple[Console, io.StringIO]:
    heard = io.StringIO()
    made = Console(as_json=False, quiet=quiet)
    made.err = RichConsole(file=heard, force_terminal=terminal, width=100, color_system=None)
    return made, heard


def event(stage: str = "train", epoch: int = 1, step: int = 2) -> ProgressEvent:
    return ProgressEvent(
        stage=stage, epoch=epoch, epochs=2, step=step, steps=2, loss=1.5, accuracy=0.5, spikes=12.0, seconds_left=61.0
    )


@pytest.fixture(params=[True, False], ids=["terminal", "file"])
def both(request: pytest.FixtureRequest) -> Iterator[tuple[Console, io.StringIO]]:
    made, heard = console(terminal=request.param)
    yield made, heard
    made.close()


def test_every_stage_is_told(both: tuple[Console, io.StringIO]) -> None:
    made, heard = both
    made.tell("writing [model].onnx")
    made.tell("writing twin.onnx")
    made.close()
    assert heard.getvalue().index("writing [model].onnx") < heard.getvalue().index("writing twin.onnx")


def test_on_a_terminal_a_stage_says_how_long_it_took() -> None:
    made, heard = console(terminal=True)
    made.tell("writing model.onnx")
    made.close()
    turning, _, done = heard.getvalue().rpartition("✓")
    assert "✓" not in turning and "writing model.onnx" in done and "0:00:00" in done


def test_epochs_follow_a_stage(both: tuple[Console, io.StringIO]) -> None:
    made, heard = both
    made.tell("images are padded")
    made.step(event(step=1))
    made.step(event())
    made.close()
    assert "images are padded" in heard.getvalue() and "loss 1.500" in heard.getvalue()
    assert "1:01 left" in heard.getvalue()


def test_quiet_is_quiet() -> None:
    made, heard = console(terminal=True, quiet=True)
    made.tell("writing model.onnx")
    made.step(event())
    made.close()
    assert heard.getvalue() == ""


@pytest.mark.parametrize(("waited", "said"), [(0.2, True), (0.01, False)])
def test_steps_that_wait_for_images_are_told(waited: float, said: bool) -> None:
    made, heard = console(terminal=False)
    made.step(replace(event(), waited=waited))
    assert ("waits 20% for images" in heard.getvalue()) == said
