"""Which images a network is trained on, and what training images are changed by."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ...setting import check_settings, setting

Filling = Literal["black", "reflect"]

# What DARTS does to the images of a data set (arXiv 1806.09055, section A.1.2), unless somebody says otherwise.
DATASET_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "cifar10": {"crop": 4, "flip": True, "cutout": 16},
    "cifar100": {"crop": 4, "flip": True, "cutout": 16},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSettings:
    """Raises InputError when a value is out of range."""

    dataset: str = setting(
        "digits",
        "digits, syllables, mnist, cifar10, cifar100, npz:TRAIN.npz,TEST.npz (`images` uint8 [N, H, W, C], `labels`), "
        "npz:ARCHIVE.npz (of JPEG images), folder:TRAIN,TEST (a sub-folder of images for each class), "
        "events:TRAIN.npz,TEST.npz (of an event camera: t_us, x, y, p, offsets, labels).",
        common=True,
    )
    data_folder: str = setting(
        "data", "Where torchvision keeps the files of mnist, cifar10 and cifar100, and decoded images lie."
    )
    shift: int = setting(0, "Move training images by up to this many pixels.", at_least=0)
    crop: int = setting(0, "The same on images that are normalised. (cifar10, cifar100: 4)", at_least=0)
    crop_filling: Filling = setting("black", "What comes in then: black, or the image reflected at its border.")
    flip: bool = setting(False, "Mirror every other training image. (cifar10, cifar100: on)")
    cutout: int = setting(0, "Side of a square that is cut out of training images. (cifar10, cifar100: 16)", at_least=0)

    def __post_init__(self) -> None:
        check_settings(self)
