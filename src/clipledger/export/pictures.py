"""Pictures as SVG or PNG. The one file that knows matplotlib; the same numbers give the same SVG.

Must not: open a window, read a settings file of the machine's, or know where the numbers come from.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from clipledger.core.errors import StorageFull, UsageError
from clipledger.export.blocks import short
from clipledger.export.extras import require

FORMATS = (".svg", ".png")
_INCHES, _DPI = (8, 3.6), 120
_INK, _LINE = "#444444", "#0b6e99"
_STYLE = {
    "svg.hashsalt": "clipledger",  # else the ids inside differ each time
    "svg.fonttype": "none",  # text stays text
    "font.family": "sans-serif",
    "axes.edgecolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.parse_math": False,  # a handle may hold a $
}


def check(path: Path) -> None:
    """Raise UsageError for a name that is no picture's, Misconfigured without the extra."""
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"--to {path.name}: name it .svg or .png")
    require("matplotlib", "plots", "a picture in a file")


def save(path: Path, points: Sequence[tuple[float, float]], title: str, *, bars: bool) -> None:
    """Draw numbers over time into a file: bars a day, or a curve with its observations."""
    import matplotlib as mpl
    from matplotlib import dates
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    style: Any = mpl.rcParamsDefault | _STYLE
    dated: Any = dates  # without types
    form, out = path.suffix.lower()[1:], io.BytesIO()
    with mpl.rc_context(style):
        figure = Figure(figsize=_INCHES, layout="constrained")
        FigureCanvasAgg(figure)
        axes: Any = figure.add_subplot()
        times, values = [datetime.fromtimestamp(at, UTC) for at, _ in points], [value for _, value in points]
        if bars:
            axes.bar(times, values, width=0.8, color=_LINE)
        else:
            axes.plot(times, values, color=_LINE, marker="o", markersize=2.5, linewidth=1.4)
        locator = dated.AutoDateLocator()
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(dated.ConciseDateFormatter(locator))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
        axes.set_ylim(bottom=0)
        axes.set_title(title, loc="left", color=_INK, fontsize=11)
        axes.grid(axis="y", alpha=0.25)
        figure.savefig(out, format=form, dpi=_DPI, metadata={"Date": None} if form == "svg" else {"Software": None})
    try:
        path.write_bytes(out.getvalue())
    except OSError as error:
        raise StorageFull(f"cannot write {path}: {error.strerror}") from error
