"""Figures of an evaluation: the scores of every Space, and the scores of every class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from lookalike.drawing.style import (
    BORDER,
    COLORS,
    MUTED,
    TEXT,
    hide_frame,
    output_path,
    render,
    save,
    shorten,
    text_style,
)
from lookalike.evaluation.scores import METRICS, TITLES, Evaluation, SpaceScores

__all__ = ["draw_evaluation"]

# Sizes in points. Two pixels for each make a figure 1,280 pixels wide.
_WIDTH = 640
_HEADING_HEIGHT, _BARS_HEIGHT, _CLASS_HEIGHT, _CLASSES_MARGIN = 46, 300, 15, 50
_PADDING = 10
_BARS_SHARE = 0.56

# Recall at k is left out. It is near 0 for large classes, however good the ranking is.
_SHOWN_METRICS = [name for name in METRICS if not name.startswith("recall")]
_MAX_CLASSES = 40
_MARKERS = "oDs^"

_CHART_HEADING = text_style(9, MUTED)
_CHART_TITLE = text_style(9, TEXT)
_VALUE = text_style(7.5, TEXT, ha="center")
_NAME = text_style(8, TEXT)
_SCALE = text_style(8, MUTED)


def draw_evaluation(evaluation: Evaluation, path: str | Path) -> Path:
    """Write a figure of an evaluation.

    On the left, bars show each metric with its 95 % interval. On the right, dots show the mean
    average precision (mAP) of each class.

    Parameters
    ----------
    evaluation
        The result of `lookalike.evaluation.evaluate`.
    path
        A ``.png``, ``.jpg`` or ``.webp`` file.

    Raises
    ------
    InputError
        If the path's suffix names no supported format.
    """
    path = output_path(path)

    # With too many classes, the best and the worst ones of the first Space are shown.
    first = evaluation.spaces[0].classes
    labels = sorted(first, key=lambda label: -first[label].map)
    classes_title = "mAP by class"
    if len(labels) > _MAX_CLASSES:
        half = _MAX_CLASSES // 2
        classes_title += f"; best and worst {half} of {len(labels):,}"
        labels = labels[:half] + labels[-half:]

    body_height = max(_BARS_HEIGHT, _CLASS_HEIGHT * len(labels) + _CLASSES_MARGIN)
    height = _HEADING_HEIGHT + body_height
    figure = Figure(
        figsize=(_WIDTH / 72, height / 72),
        dpi=144,
        facecolor="white",
        layout=ConstrainedLayoutEngine(w_pad=_PADDING / 72, h_pad=_PADDING / 72),
    )
    row_heights = [_HEADING_HEIGHT, body_height]
    heading, body = figure.subfigures(2, 1, squeeze=False, height_ratios=row_heights)[
        :, 0
    ]
    column_widths = [_BARS_SHARE, 1 - _BARS_SHARE]
    left, right = body.subfigures(1, 2, squeeze=False, width_ratios=column_widths)[0]

    _write_chart_heading(heading, evaluation)

    # The bars keep their height when many classes make the figure taller.
    bars_share = _BARS_HEIGHT / body_height
    if bars_share < 1:
        left = left.subfigures(2, 1, height_ratios=[bars_share, 1 - bars_share])[0]
    bars = left.add_subplot()
    bars.set_title("Means, and their 95 % intervals", loc="left", **_CHART_TITLE)
    _draw_bars(bars, evaluation.spaces)

    dots = right.add_subplot()
    dots.set_title(classes_title, loc="right", **_CHART_TITLE)
    _draw_classes(dots, evaluation.spaces, labels)
    return save(render(figure), path)


def _write_chart_heading(heading: SubFigure, evaluation: Evaluation) -> None:
    """Write what was compared, and which color stands for which Space."""
    counts = evaluation.counts
    if evaluation.leave_one_out:
        compared = f"{counts.queries:,} queries, each among the other {counts.gallery - 1:,} images"
    else:
        queries = f"{counts.queries:,} test images as queries"
        compared = f"{queries}, among {counts.gallery:,} training images"
    heading.text(_PADDING / _WIDTH, 0.55, compared, **_CHART_HEADING)

    handles = []
    for index, scores in enumerate(evaluation.spaces):
        name = shorten(scores.space)
        handles.append(
            Line2D([], [], linestyle="", markersize=7, label=name, **_marker(index))
        )
    legend = heading.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=((_PADDING - 6) / _WIDTH, 0),
        ncols=len(handles),
        frameon=False,
        fontsize=9.5,
        handletextpad=0.2,
        columnspacing=1.2,
        borderpad=0,
    )
    for text in legend.get_texts():
        # A dollar sign would otherwise start a formula.
        text.set(color=TEXT, parse_math=False)


def _draw_bars(axes: Axes, spaces: tuple[SpaceScores, ...]) -> None:
    """Draw a group of bars for each metric. Values are written where there is room for them."""
    width = 0.8 / len(spaces)
    positions = np.arange(len(_SHOWN_METRICS))
    for index, scores in enumerate(spaces):
        estimates = np.array([scores.metrics[name] for name in _SHOWN_METRICS])
        values, low, high = estimates.T
        centers = positions + (index - (len(spaces) - 1) / 2) * width
        axes.bar(centers, values, 0.92 * width, color=_color(index))

        # A mean can lie just outside its interval because of rounding; an error bar cannot.
        errors = np.maximum([values - low, high - values], 0)
        axes.errorbar(
            centers,
            values,
            errors,
            linestyle="",
            ecolor=TEXT,
            elinewidth=1,
            capsize=2,
            capthick=1,
        )
        if len(spaces) <= 2:
            tops = np.maximum(values, high) + 0.012
            for center, top, value in zip(centers, tops, values, strict=True):
                axes.text(center, top, f"{value:.2f}", **_VALUE)

    hide_frame(axes)
    axes.set_axisbelow(True)
    axes.grid(axis="y", color=BORDER, linewidth=0.75)
    axes.set_xticks(
        positions, [_metric_title(name) for name in _SHOWN_METRICS], size=8, color=TEXT
    )
    axes.set_yticks(
        [0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"], size=8, color=MUTED
    )
    axes.set_ylim(0, 1.06)


def _metric_title(name: str) -> str:
    """Return a metric's title, broken into two lines where it is long."""
    title = TITLES[name]
    title = title.replace("mean of ", "mean of\n")
    return title.replace("precision@", "precision\n@")


def _draw_classes(
    axes: Axes, spaces: tuple[SpaceScores, ...], labels: list[str]
) -> None:
    """Draw each class's mAP in every Space as a dot. A line joins the dots of a class."""
    values = np.array(
        [[scores.classes[label].map for label in labels] for scores in spaces]
    )
    rows = np.arange(len(labels))
    axes.hlines(
        rows, values.min(axis=0), values.max(axis=0), color=MUTED, linewidth=1, zorder=1
    )
    # The first Space is drawn last, on top of the others.
    for index in reversed(range(len(spaces))):
        axes.plot(
            values[index], rows, linestyle="", markersize=6, zorder=2, **_marker(index)
        )

    hide_frame(axes)
    axes.set_axisbelow(True)
    axes.grid(axis="x", color=BORDER, linewidth=0.75)
    names = [shorten(label) for label in labels]
    axes.set_yticks(rows, names, **_NAME)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"], **_SCALE)
    axes.set_xlim(-0.03, 1.03)


def _color(index: int) -> str:
    return COLORS[index % len(COLORS)]


def _marker(index: int) -> dict[str, Any]:
    """Return the marker style of a Space."""
    return {
        "marker": _MARKERS[index % len(_MARKERS)],
        "color": _color(index),
        "markeredgecolor": "white",
        "markeredgewidth": 0.5,
    }
