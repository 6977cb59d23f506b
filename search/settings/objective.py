"""What spikes, synaptic operations and relays cost in the loss, in the search and in the training of what was found."""

from dataclasses import dataclass

from ...setting import check_settings, require, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveSettings:
    """Weights in nats (objective/priced_loss.py has the formula). Raises InputError when a value is out of range."""

    spike_weight: float = setting(
        0.0,
        "Price in the loss, nats, of the spikes above --target-spikes over it; without a target, of all.",
        at_least=0,
    )
    sop_weight: float = setting(
        0.0,
        "Price in the loss, nats, of the synaptic operations over an ordinary network's; 0.3 is strong.",
        at_least=0,
        common=True,
    )
    relay_weight: float = setting(
        0.0,
        "Price in the loss, nats, of the relays on Loihi over those of a random cell; 0.3 is strong.",
        at_least=0,
        common=True,
    )
    target_spikes: int = setting(
        0, "Spikes per inference to stay below (the paper has about 110000); needs --spike-weight.", at_least=0
    )

    def __post_init__(self) -> None:
        check_settings(self)
        if self.target_spikes:
            require(self, "spike_weight", self.spike_weight > 0, "spike_weight > 0 with target_spikes")

    @property
    def has_a_price(self) -> bool:
        """Whether anything is added to the cross-entropy."""
        return bool(self.spike_weight or self.sop_weight or self.relay_weight)
