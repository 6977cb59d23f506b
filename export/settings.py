"""What a person can choose of `export`. Imports no NumPy, so that --help need not wait for it."""

from dataclasses import dataclass

from ..setting import check_settings, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSettings:
    """Raises InputError when a value is out of range."""

    dt: float = setting(
        1e-4, "Seconds of a time step, by which NIR's time constants count; for the target nir.", above=0, common=True
    )

    fold_attention: bool = setting(
        False,
        "Make gates that depend on the input (eca, cbam) constants, one for each channel; for the target loihi, and "
        "with `all` for nir, too.",
        common=True,
    )

    def __post_init__(self) -> None:
        check_settings(self)
