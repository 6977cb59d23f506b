"""Cells that are trained for a while at the end of a search, to take the best. For strategies that try some."""

from dataclasses import dataclass

from ...setting import check_settings, require, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialSettings:
    """Raises InputError when a value is out of range."""

    trials: int = setting(
        0,
        "Train so many cells, drawn from the architecture weights, for a while and take the best; 0 is none.",
        at_least=0,
        common=True,
    )
    trial_epochs: int = setting(5, "Epochs of each in the first round, on half of the train split.", at_least=1)
    trial_rounds: int = setting(
        1, "From one round to the next the best third is trained again, three times as long.", at_least=1
    )
    target_sops: int = setting(
        0, "Synaptic operations per inference that the cell may take: of the --trials the best below it.", at_least=0
    )
    target_parameters: int = setting(
        0, "Parameters that the network may have: of the --trials the best within it.", at_least=0
    )

    def __post_init__(self) -> None:
        check_settings(self)
        for name in ("target_sops", "target_parameters"):
            if getattr(self, name):
                require(self, "trials", self.trials > 0, f"trials > 0 with {name}")
