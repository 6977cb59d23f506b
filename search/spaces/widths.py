"""A space of genotypes, and how wide each cell of their path is: one more number of the code for each layer."""

from dataclasses import replace

from ...errors import InputError
from ..space.genotype import Genotype, Layer
from .canonical import key_of
from .space import Code, CodedSpace


def with_widths(
    space: CodedSpace[Genotype], layers: tuple[Layer, ...], widths: tuple[float, ...]
) -> CodedSpace[Genotype]:
    """space: of cells without a path. layers: the path that all have. widths: of the channels at a cell's place."""
    cells = len(space.radices)

    def decode(code: Code) -> Genotype:
        path = tuple(replace(layer, width=widths[number]) for layer, number in zip(layers, code[cells:], strict=True))
        return replace(space.decoder(code[:cells]), layers=path)

    def encode(genotype: Genotype) -> Code:
        path = genotype.layers or ()
        if [one.kind for one in path] != [one.kind for one in layers] or any(one.width not in widths for one in path):
            raise InputError(
                f"A genotype of this space must have a path of {len(layers)} layers with widths among "
                f"{', '.join(map(str, widths))}, but has {path or 'none'}."
            )
        return (*space.encoder(replace(genotype, layers=None)), *(widths.index(one.width) for one in path))

    return CodedSpace(
        name=f"{space.name}, widths",
        radices=(*space.radices, *[len(widths)] * len(layers)),
        decoder=decode,
        encoder=encode,
        namer=key_of,
        parts=(*space.motifs, tuple(range(cells, cells + len(layers)))),
    )
