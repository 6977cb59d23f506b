import pytest

from spikeport.errors import InputError
from spikeport.search.settings.training import TrainingSettings
from spikeport.search.training.schedules import SCHEDULES, cosine


def test_cosine_by_hand() -> None:
    assert [cosine(0.5, 0.1, epoch, 4) for epoch in (0, 2)] == [0.5, pytest.approx(0.3, rel=1e-12)]
    assert 0.1 < cosine(0.5, 0.1, 3, 4) < 0.2


def test_linear_and_constant_by_hand() -> None:
    assert [SCHEDULES["linear"](0.5, 0.1, epoch, 4) for epoch in (0, 1, 3)] == pytest.approx([0.5, 0.4, 0.2])
    assert SCHEDULES["constant"](0.5, 0.1, 3, 4) == 0.5


def test_unknown_schedule() -> None:
    with pytest.raises(InputError, match=r"^Unknown schedule 'step'; choose from cosine, linear, constant\.$"):
        TrainingSettings(schedule="step")
