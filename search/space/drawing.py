"""A genotype and a history as SVG that a person can read; equal input gives equal bytes."""

import io
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from .genotype import CELL_KINDS, INPUTS, NODES, CellKind, Edge, Genotype, Layer
from .layout import default_layers

# A cell is drawn as a circuit: every state has a lane that runs down from it, and every node is a row whose two wires
# start at a dot on their source's lane. Wires may cross lanes, but nothing else can overlap.
COLUMN, ROW, WIRE = 190, 86, 32  # pixels between lanes, between rows, between the two wires of a row
MARGIN, TITLE = 40, 64
BOX_WIDTH, BOX_HEIGHT, RADIUS = 128, 24, 19
CELL_HEIGHT = TITLE + ROW * (NODES + 1) + 60
WIDTH = 2 * MARGIN + COLUMN * (INPUTS + NODES - 1) + 2 * RADIUS

MARK_WIDTH, MARK_HEIGHT = 60, 16  # of what stands above a node

PER_ROW, PATH_ROW = 10, 92  # layers of a path side by side, and the height of a row of them

FILL = {"skip": "#e8e8e8", "max": "#fde3cf", "avg": "#fff3c4", "sep": "#d6e8fa", "dil": "#e3dcf5", "conv": "#d6e8fa"}
PATH_FILL: dict[CellKind, str] = {"normal": "#eeeeee", "reduce": "#fde3cf"}
TITLES: dict[CellKind, str] = {"normal": "Normal cell", "reduce": "Reduction cell"}
PLOTS = ("loss (nats)", "accuracy", "spikes per image and cell", "expected SOPs per image and cell")
STYLES = {"train": "-", "validation": "--"}


def draw_genotype(genotype: Genotype) -> str:
    """Both cells, the operation on every edge (`/2` marks stride 2), and the path, where there is one.

    Where every layer has a cell of its own, all of them, in their order.
    A node stands under what the genotype says of it: that it has spike gates, and its decay.
    """
    drawn = _cells(genotype)
    cells = CELL_HEIGHT * len(drawn)
    height = cells + _path_height(genotype)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        'font-family="Helvetica, Arial, sans-serif" font-size="14">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
    ]
    for i, (title, kind, place) in enumerate(drawn):
        parts.append(f'<g transform="translate(0 {i * CELL_HEIGHT})">')
        parts.extend(_cell(genotype, title, kind, place))
        parts.append("</g>")
    if genotype.layers:
        parts.extend([f'<g transform="translate(0 {cells})">', *_path(genotype.layers), "</g>"])
    return "\n".join([*parts, "</svg>"]) + "\n"


def _cells(genotype: Genotype) -> list[tuple[str, CellKind, int]]:
    """Title, kind and layer of every cell."""
    if genotype.cells is None:
        return [(TITLES[kind], kind, place) for place, kind in enumerate(CELL_KINDS)]
    layers = genotype.layers or default_layers(len(genotype.cells))
    return [(f"Layer {place}: {TITLES[layer.kind].lower()}", layer.kind, place) for place, layer in enumerate(layers)]


def _cell(genotype: Genotype, title: str, kind: CellKind, place: int) -> list[str]:
    bottom = TITLE + ROW * (NODES + 1)
    title = f"{title} ({genotype.primitives} primitives)"
    parts = [f'<text x="{MARGIN}" y="30" font-size="18" font-weight="bold">{title}</text>']
    wires = [
        (edge, _row(node) + (i - 0.5) * WIRE)
        for node in range(NODES)
        for i, edge in enumerate(genotype.incoming(kind, node, place))
    ]
    for state in range(INPUTS + NODES):
        last = bottom if state >= INPUTS else max((y for edge, y in wires if edge.source == state), default=None)
        if last is not None:
            parts.append(_line(_lane(state), _state_row(state), _lane(state), last))
    for edge, y in wires:
        parts.extend(_wire(edge, y, kind))
    for state in range(INPUTS + NODES):
        parts.extend(_state(state))
    for node in range(NODES):
        parts.extend(_marks(genotype, kind, place, node))
    left, right = _lane(INPUTS) - RADIUS, _lane(INPUTS + NODES - 1) + RADIUS
    parts.append(
        f'<rect x="{left}" y="{bottom}" width="{right - left}" height="30" rx="6" fill="#dff0d8" stroke="#333"/>'
    )
    parts.append(_text((left + right) / 2, bottom + 20, "output: the channels of n1, n2, n3 and n4 side by side"))
    return parts


def _path_height(genotype: Genotype) -> int:
    return TITLE + PATH_ROW * -(-len(genotype.layers) // PER_ROW) if genotype.layers else 0


def _path(layers: Sequence[Layer]) -> list[str]:
    """Of every cell its number, its kind, by how much the reductions multiply the channels, and its width."""
    parts = [f'<text x="{MARGIN}" y="30" font-size="18" font-weight="bold">Path: cells in their order</text>']
    step = (WIDTH - 2 * MARGIN) / PER_ROW
    factor = 1
    for i, layer in enumerate(layers):
        factor *= 2 if layer.kind == "reduce" else 1
        x, y = MARGIN + step * (i % PER_ROW), TITLE - 16 + PATH_ROW * (i // PER_ROW)
        parts.append(
            f'<rect x="{x:g}" y="{y}" width="{step - 8:g}" height="{PATH_ROW - 12}" rx="6" '
            f'fill="{PATH_FILL[layer.kind]}" stroke="#333"/>'
        )
        words = (f"{i}: {layer.kind}", f"channels x{factor}", f"width {layer.width:g}")
        parts.extend(_text(x + (step - 8) / 2, y + 20 * (line + 1) + 2, word, 11) for line, word in enumerate(words))
    return parts


def _wire(edge: Edge, y: float, kind: CellKind) -> list[str]:
    start, end = _lane(edge.source), _lane(edge.node + INPUTS)
    box = end - RADIUS - 14 - BOX_WIDTH
    label = edge.primitive + (" /2" if kind == "reduce" and edge.source < INPUTS else "")
    return [
        _line(start, y, end, y),
        f'<circle cx="{start}" cy="{y}" r="4" fill="#333"/>',
        f'<rect x="{box}" y="{y - BOX_HEIGHT / 2}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="4" '
        f'fill="{FILL[edge.primitive.split("_")[0]]}" stroke="#333"/>',
        _text(box + BOX_WIDTH / 2, y + 5, label),
    ]


def _state(state: int) -> list[str]:
    x, y = _lane(state), _state_row(state)
    name, fill = (f"s{state}", "#eeeeee") if state < INPUTS else (f"n{state - INPUTS + 1}", "#dff0d8")
    return [
        f'<rect x="{x - RADIUS}" y="{y - RADIUS - 6}" width="{2 * RADIUS}" height="{2 * RADIUS + 12}" rx="12" '
        f'fill="{fill}" stroke="#333"/>',
        _text(x, y + 5, name),
    ]


def _marks(genotype: Genotype, kind: CellKind, place: int, node: int) -> list[str]:
    """What a node has beside its edges, above it: no wire and no lane passes there."""
    gates = ["gates"] if genotype.gated(kind, node, place) else []
    decays = [] if genotype.decays is None else [f"decay {Fraction(genotype.decay(kind, node, place))}"]
    words = gates + decays
    x, bottom = _lane(INPUTS + node), _row(node) - RADIUS - 7
    parts = []
    for i, word in enumerate(words):
        top = bottom - (i + 1) * MARK_HEIGHT
        parts.append(
            f'<rect x="{x - MARK_WIDTH / 2:g}" y="{top}" width="{MARK_WIDTH}" height="{MARK_HEIGHT}" rx="6" '
            f'fill="#f7d9e3" stroke="#333"/>'
        )
        parts.append(_text(x, top + 12, word, 11))
    return parts


def _lane(state: int) -> int:
    return MARGIN + RADIUS + COLUMN * state


def _row(node: int) -> int:
    return TITLE + ROW * (node + 1) - 6


def _state_row(state: int) -> int:
    return TITLE + RADIUS if state < INPUTS else _row(state - INPUTS)


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="#333" stroke-width="1.5"/>'


def _text(x: float, y: float, text: str, size: int = 14) -> str:
    font = "" if size == 14 else f' font-size="{size}"'
    return f'<text x="{x}" y="{y}" text-anchor="middle"{font}>{text}</text>'


def draw_history(rows: Sequence[dict[str, Any]]) -> str:
    """Loss, accuracy and spikes per cell over the epochs, one line of plots per stage; rows as in history.jsonl.

    Of a search the synaptic operations to be expected of its mixture, too.
    """
    stages = list(dict.fromkeys(row["stage"] for row in rows))
    with mpl.rc_context({"svg.hashsalt": "spikeport", "svg.fonttype": "none"}):
        figure = Figure(figsize=(18, 4 * max(1, len(stages))), layout="constrained")
        grid = figure.subplots(max(1, len(stages)), len(PLOTS), squeeze=False)
        for axes, stage in zip(grid, stages, strict=False):
            _plot_stage(axes, stage, [row for row in rows if row["stage"] == stage])
        file = io.BytesIO()
        FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None})  # type: ignore[no-untyped-call]
    return file.getvalue().decode()


def _plot_stage(axes: Any, stage: str, rows: Sequence[dict[str, Any]]) -> None:
    epochs = [row["epoch"] for row in rows]
    marker = "o" if len(rows) == 1 else None
    for axis, quantity in zip(axes, ("loss", "accuracy"), strict=False):
        for split, style in STYLES.items():
            axis.plot(epochs, [row[split][quantity] for row in rows], style, marker=marker, label=split)
    for i, cell in enumerate(rows[0]["train"]["spikes_per_cell"]):
        for split, style in STYLES.items():
            counts = [row[split]["spikes_per_cell"][cell] for row in rows]
            axes[2].plot(epochs, counts, style, marker=marker, color=f"C{i}", label=f"{cell}, {split}")
    expected = [row["validation"].get("sops_per_cell", {}) for row in rows]
    for i, cell in enumerate(expected[0]):
        counts = [sops[cell] for sops in expected]
        axes[3].plot(epochs, counts, STYLES["validation"], marker=marker, color=f"C{i + 1}", label=cell)
    if not expected[0]:
        axes[3].set_axis_off()
    for axis, title in zip(axes[: 4 if expected[0] else 3], PLOTS, strict=False):
        axis.set_title(f"{stage}: {title}")
        axis.set_xlabel("epoch")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
