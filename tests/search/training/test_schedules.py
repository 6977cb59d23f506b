import pytest

from spikeport.errors import InputError
from spikeport.search.settings.training import TrainingSettings
from spikeport.search.training.schedules import SCHEDULES, cosine, rate_at, rate_of_step


def test_cosine_by_hand() -> None:
    assert [cosine(0.5, 0.1, epoch, 4) for epoch in (0, 2)] == [0.5, pytest.approx(0.3, rel=1e-12)]
    assert 0.1 < cosine(0.5, 0.1, 3, 4) < 0.2


def test_linear_and_constant_by_hand() -> None:
    assert [SCHEDULES["linear"](0.5, 0.1, epoch, 4) for epoch in (0, 1, 3)] == pytest.approx([0.5, 0.4, 0.2])
    assert SCHEDULES["constant"](0.5, 0.1, 3, 4) == 0.5


def test_unknown_schedule() -> None:
    with pytest.raises(InputError, match=r"^Unknown schedule 'step'; choose from cosine, linear, constant\.$"):
        TrainingSettings(schedule="step")


def test_a_warm_up_and_a_linear_fall_are_a_triangle() -> None:
    """10 epochs, the first 2 of which rise to 0.5; at the end the rate is 0.1."""
    settings = TrainingSettings(
        schedule="linear", warmup_share=0.2, train_learning_rate=0.5, minimum_learning_rate=0.1, train_epochs=10
    )
    rates = [rate_at(settings, epoch, 10) for epoch in (0, 1, 2, 4, 6, 10)]
    assert rates == pytest.approx([0, 0.25, 0.5, 0.4, 0.3, 0.1])
    assert [rate_of_step(settings, 1, step, 2, 10) for step in (0, 1)] == pytest.approx([0.3125, 0.4375])


def test_without_a_warm_up_all_steps_of_an_epoch_have_the_epochs_rate() -> None:
    settings = TrainingSettings(train_learning_rate=0.5, minimum_learning_rate=0.1, train_epochs=7)
    for epoch in range(7):
        assert {rate_of_step(settings, epoch, step, 9, 7) for step in range(9)} == {cosine(0.5, 0.1, epoch, 7)}
