"""A picture of an evaluation: every Space's scores side by side, and its classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lookalike.drawing.style import COLOURS, INK, QUIET, RULE, rendered, save, short, target
from lookalike.evaluation.scores import METRICS, TITLES, Evaluation, SpaceScores

__all__ = ["draw_evaluation"]

# In points; two pixels to each make a picture 1,280 pixels wide.
_WIDTH, _SCALE = 640, 2
_TOP, _BOTTOM, _LEFT, _RIGHT = 62, 30, 34, 16
_BARS_HEIGHT, _BARS_WIDTH, _DOTS_WIDTH = 250, 318, 150
_CLASS_HEIGHT = 15
# Recall at k is left out: where classes are large it cannot but be near 0.
_SHOWN = [name for name in METRICS if not name.startswith("recall")]
_MANY_CLASSES = 40
_MARKS = "oDs^"


def draw_evaluation(evaluation: Evaluation, path: str | Path) -> Path:
    """Write a picture of an evaluation: bars for the metrics, with their intervals, and a dot plot of class mAPs.

    Parameters
    ----------
    evaluation
        What `lookalike.evaluation.evaluate` returned.
    path
        A ``.png``, ``.jpg`` or ``.webp`` file.

    Raises
    ------
    InputError
        If the file's ending is not one of these.
    """
    path = target(path)
    first = evaluation.spaces[0].classes
    labels = sorted(first, key=lambda label: -first[label].map)
    hidden = len(labels) - _MANY_CLASSES
    if hidden > 0:
        labels = labels[: _MANY_CLASSES // 2] + labels[-_MANY_CLASSES // 2 :]
    tall = max(_BARS_HEIGHT, _CLASS_HEIGHT * len(labels))
    height = _TOP + tall + _BOTTOM
    figure = Figure(figsize=(_WIDTH / 72, height / 72), dpi=72 * _SCALE, facecolor="white")

    def panel(left: float, right: float, points: float) -> Axes:
        box = (
            left / _WIDTH,
            1 - (_TOP + points) / height,
            (right - left) / _WIDTH,
            points / height,
        )
        return figure.add_axes(box)

    _heading(figure, evaluation)
    bars = panel(_LEFT, _LEFT + _BARS_WIDTH, _BARS_HEIGHT - 12)
    bars.set_title("Means, and their 95 % intervals", size=9, color=INK, loc="left")
    _bars(bars, evaluation.spaces)
    note = f"; best and worst {_MANY_CLASSES // 2} of {len(first):,}" if hidden > 0 else ""
    # The names of the classes stand to the left of their panel.
    dots = panel(_WIDTH - _RIGHT - _DOTS_WIDTH, _WIDTH - _RIGHT, tall)
    dots.set_title(f"mAP by class{note}", size=9, color=INK, loc="right")
    _classes(dots, evaluation.spaces, labels)
    return save(rendered(figure), path)


def _heading(figure: Figure, evaluation: Evaluation) -> None:
    """Tell what was compared, and which colour is which Space."""
    height = figure.get_figheight() * 72
    counts = evaluation.counts
    told = (
        f"{counts.queries:,} queries, each among the other {counts.gallery - 1:,} images"
        if evaluation.leave_one_out
        else f"{counts.queries:,} test images as queries, among {counts.gallery:,} train images"
    )
    figure.text(_LEFT / _WIDTH, 1 - 22 / height, told, size=9, color=QUIET, va="baseline")
    handles = [
        Line2D(
            [],
            [],
            linestyle="",
            marker=_mark(index),
            markersize=7,
            **_coloured(index),
            label=short(scores.space),
        )
        for index, scores in enumerate(evaluation.spaces)
    ]
    key = figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=((_LEFT - 6) / _WIDTH, 1 - 26 / height),
        ncols=len(handles), frameon=False, fontsize=9.5, handletextpad=0.2, columnspacing=1.2, borderpad=0,
    )  # fmt: skip
    for text in key.get_texts():
        text.set(color=INK, parse_math=False)


def _bars(axes: Axes, spaces: tuple[SpaceScores, ...]) -> None:
    """Draw a group of bars for each metric, with 95 % intervals and, while there is room, the figures."""
    width = 0.8 / len(spaces)
    for index, scores in enumerate(spaces):
        estimates = np.array([scores.metrics[name] for name in _SHOWN])
        values, low, high = estimates.T
        places = np.arange(len(_SHOWN)) + (index - (len(spaces) - 1) / 2) * width
        axes.bar(places, values, 0.92 * width, color=_colour(index))
        # The bar's value is a mean and may by rounding lie a hair outside of its interval.
        whiskers = np.maximum([values - low, high - values], 0)
        axes.errorbar(
            places, values, whiskers, linestyle="", ecolor=INK, elinewidth=1, capsize=2, capthick=1
        )
        if len(spaces) <= 2:
            for place, value, top in zip(places, values, high, strict=True):
                axes.text(
                    place, max(value, top) + 0.012, f"{value:.2f}", size=7.5, color=INK, ha="center"
                )
    _plain(axes)
    names = [
        TITLES[name].replace("mean of ", "mean of\n").replace("precision@", "precision\n@")
        for name in _SHOWN
    ]
    axes.set_xticks(range(len(_SHOWN)), names, size=8, color=INK)
    axes.set_ylim(0, 1.06)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"], size=8, color=QUIET)
    axes.grid(axis="y", color=RULE, linewidth=0.75)


def _classes(axes: Axes, spaces: tuple[SpaceScores, ...], labels: list[str]) -> None:
    """Draw each class's mAP in every Space as a dot, on a line that joins them."""
    values = np.array([[scores.classes[label].map for label in labels] for scores in spaces])
    rows = np.arange(len(labels))
    axes.hlines(rows, values.min(axis=0), values.max(axis=0), color=QUIET, linewidth=1, zorder=1)
    # The first Space last, so that it lies on top.
    for index in reversed(range(len(spaces))):
        axes.plot(
            values[index],
            rows,
            linestyle="",
            marker=_mark(index),
            markersize=6,
            **_coloured(index),
            zorder=2,
        )
    _plain(axes)
    axes.set_yticks(rows, [short(label) for label in labels], size=8, color=INK, parse_math=False)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlim(-0.03, 1.03)
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"], size=8, color=QUIET)
    axes.grid(axis="x", color=RULE, linewidth=0.75)


def _plain(axes: Axes) -> None:
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def _mark(index: int) -> str:
    return _MARKS[index % len(_MARKS)]


def _coloured(index: int) -> dict[str, Any]:
    return {"color": _colour(index), "markeredgecolor": "white", "markeredgewidth": 0.5}
