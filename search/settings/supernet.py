"""All candidates at once: in which form, mixed how, calculated in which numbers. For strategies that train one."""

from dataclasses import dataclass
from typing import Literal

from ...errors import InputError
from ...export.weight_scale import WEIGHT_BITS
from ...setting import check_settings, setting, settings_of

SupernetForm = Literal["kernel", "plain"]
Relaxation = Literal["softmax", "sigmoid", "gumbel"]
SearchPrecision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SupernetSettings:
    """Raises InputError when a value is out of range."""

    supernet: SupernetForm = setting(
        "kernel", "Mix the candidates' kernels (kernel, fast) or, as in the paper, their currents (plain)."
    )
    relaxation: Relaxation = setting(
        "softmax",
        "From architecture weights to a mixture: softmax (primitives compete), sigmoid (each by itself) or gumbel "
        "(softmax with noise that is drawn for every batch).",
    )
    gumbel_temperature: float = setting(
        1.0, "Of --relaxation gumbel, in the first epoch in which it mixes: the lower, the more nearly one.", above=0
    )
    gumbel_temperature_end: float = setting(0.1, "Its temperature in the last epoch.", above=0)
    search_bits: int = setting(
        0,
        f"Of the supernet's weights, as a chip would hold them: {', '.join(map(str, WEIGHT_BITS))}; 0: floats.",
        at_least=0,
    )
    search_bits_after: int = setting(
        0, "First epochs of the search in floats; what they have learned goes on in --search-bits.", at_least=0
    )
    learning_rate: float = setting(0.025, "Of the weights in the search, falling as --schedule says.", above=0)
    search_batch_size: int = setting(0, "Images in a batch of the search; 0: as many as in the training.", at_least=0)
    search_precision: SearchPrecision = setting(
        "auto", "Of spikes and spectra in a search; auto: bfloat16 where the device multiplies it, else float32."
    )

    def __post_init__(self) -> None:
        check_settings(self)
        for name in ("gumbel_temperature", "gumbel_temperature_end") if self.relaxation != "gumbel" else ():
            if getattr(self, name) != settings_of(SupernetSettings)[name].default:
                raise InputError(
                    f"{name}={getattr(self, name)} is of the relaxation gumbel, but the relaxation is "
                    f"{self.relaxation}; say --relaxation gumbel or leave it out."
                )
        if self.search_bits and self.search_bits not in WEIGHT_BITS:
            raise InputError(
                f"A weight on the chip has one of {', '.join(map(str, WEIGHT_BITS))} bits, but got "
                f"search_bits={self.search_bits}; 0 searches in floats."
            )
        if self.search_bits and self.supernet == "plain":
            raise InputError(
                f"search_bits={self.search_bits} rounds the kernels that a node hears together, as on a chip, but the "
                "plain supernet has none: each candidate's current has its own batch norm; say --supernet kernel."
            )
        if self.search_bits_after and not self.search_bits:
            raise InputError(
                f"search_bits_after={self.search_bits_after} is how long floats are searched before bits, and there "
                "are none; say --search-bits or leave it out."
            )
        if self.search_precision == "bfloat16" and self.supernet == "plain":
            raise InputError(
                "--search-precision bfloat16 is for the kernel-space supernet; use auto with the plain one."
            )
