"""The plots of the page, as small SVG files that do not change when the figures do not."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from benchmarks.serving.compare import Comparison

_COLOURS = {"edgecanary": "#0b6e4f", "MLServer": "#b3541e", "KServe": "#7d5ba6"}


def latency(comparison: Comparison, file: Path) -> None:
    """The p50 by model, format and number of clients."""
    models = list(dict.fromkeys(cell.model for cell in comparison.cells))
    figure = Figure(figsize=(7.5, 4.6), layout="constrained")
    for row, binary in enumerate((True, False)):
        for column, model in enumerate(models):
            axes = figure.add_subplot(2, len(models), row * len(models) + column + 1)
            for server, colour in _COLOURS.items():
                cells = [
                    c for c in comparison.cells if (c.model, c.binary, c.server) == (model, binary, server)
                ]
                label = server if (row, column) == (1, 0) else None
                axes.plot(
                    [c.clients for c in cells],
                    [c.p50 / 1000 for c in cells],
                    "o-",
                    color=colour,
                    label=label,
                    ms=3,
                )
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
            axes.set_title(f"{model}, {'binary' if binary else 'JSON'}", fontsize=8)
            axes.set_xlabel("clients", fontsize=7)
            if column == 0:
                axes.set_ylabel("p50, ms")
    figure.legend(loc="outside upper center", fontsize=7, ncol=3)
    _save(figure, file)


def memory(comparison: Comparison, file: Path) -> None:
    """Resident memory by model and server."""
    models = list(dict.fromkeys(size.model for size in comparison.sizes))
    figure = Figure(figsize=(5.0, 2.8), layout="constrained")
    axes = figure.add_subplot()
    width = 0.8 / len(_COLOURS)
    for number, (server, colour) in enumerate(_COLOURS.items()):
        sizes = {s.model: s.resident_bytes / 2**20 for s in comparison.sizes if s.server == server}
        places = np.arange(len(models)) + (number + 0.5) * width - 0.4
        axes.bar(places, [sizes[model] for model in models], width, label=server, color=colour)
    axes.set_xticks(range(len(models)), models)
    axes.set_ylabel("resident, MiB")
    figure.legend(loc="outside upper center", fontsize=7, ncol=3)
    _save(figure, file)


def _save(figure: Figure, file: Path) -> None:
    with mpl.rc_context():
        mpl.rcParams["svg.fonttype"] = "none"
        mpl.rcParams["svg.hashsalt"] = "serving"
        figure.savefig(file, metadata={"Date": None})
    # Lines end without blanks, as the repository wants it.
    file.write_text("\n".join(line.rstrip() for line in file.read_text().splitlines()) + "\n")
