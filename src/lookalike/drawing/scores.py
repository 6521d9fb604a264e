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
_DRAWN_METRICS = [name for name in METRICS if not name.startswith("recall")]
_MAX_CLASSES = 40
_MARKERS = "oDs^"
# Where long titles of metrics are broken into two lines.
_LINE_BREAKS = (("mean of ", "mean of\n"), ("precision@", "precision\n@"))

_CHART_HEADING = text_style(9, MUTED)
_CHART_TITLE = text_style(9, TEXT)
_VALUE = text_style(7.5, TEXT, ha="center")
_NAME_TEXT = text_style(8, TEXT)
_SCALE_TEXT = text_style(8, MUTED)


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
    labels, classes_title = _choose_classes(evaluation)

    # A heading, and below it the bars on the left and the classes on the right.
    classes_height = _CLASS_HEIGHT * len(labels) + _CLASSES_MARGIN
    body_height = max(_BARS_HEIGHT, classes_height)
    height = _HEADING_HEIGHT + body_height
    padding = _PADDING / 72
    layout = ConstrainedLayoutEngine(w_pad=padding, h_pad=padding)
    size = (_WIDTH / 72, height / 72)
    figure = Figure(figsize=size, dpi=144, facecolor="white", layout=layout)
    row_heights = [_HEADING_HEIGHT, body_height]
    rows = figure.subfigures(2, 1, squeeze=False, height_ratios=row_heights)
    heading, body = rows.flat
    column_widths = [_BARS_SHARE, 1 - _BARS_SHARE]
    columns = body.subfigures(1, 2, squeeze=False, width_ratios=column_widths)
    left, right = columns.flat

    _write_chart_heading(heading, evaluation)

    # The bars keep their height when many classes make the figure taller.
    bars_share = _BARS_HEIGHT / body_height
    if bars_share < 1:
        left_heights = [bars_share, 1 - bars_share]
        left, _ = left.subfigures(2, 1, height_ratios=left_heights)
    bars = left.add_subplot()
    bars.set_title("Means, and their 95 % intervals", loc="left", **_CHART_TITLE)
    _draw_bars(bars, evaluation.spaces)

    dots = right.add_subplot()
    dots.set_title(classes_title, loc="right", **_CHART_TITLE)
    _draw_classes(dots, evaluation.spaces, labels)
    drawn = render(figure)
    return save(drawn, path)


def _choose_classes(evaluation: Evaluation) -> tuple[list[str], str]:
    """Return the classes to show, best first, and the title above them.

    With too many classes, these are the best and the worst ones of the first Space.
    """
    scores = evaluation.spaces[0].classes
    labels = sorted(scores, key=lambda label: -scores[label].map)
    title = "mAP by class"
    count = len(labels)
    if count > _MAX_CLASSES:
        half = _MAX_CLASSES // 2
        best = labels[:half]
        worst = labels[-half:]
        labels = best + worst
        title += f"; best and worst {half} of {count:,}"
    return labels, title


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
        name = shorten(scores.title)
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
    middle = (len(spaces) - 1) / 2
    positions = np.arange(len(_DRAWN_METRICS))
    for index, scores in enumerate(spaces):
        estimates = np.array([scores.metrics[name] for name in _DRAWN_METRICS])
        values, low, high = estimates.T
        offset = (index - middle) * width
        centers = positions + offset
        color = _color(index)
        axes.bar(centers, values, 0.92 * width, color=color)

        # A mean can lie just outside its interval because of rounding; an error bar cannot.
        lower_errors = np.maximum(values - low, 0)
        upper_errors = np.maximum(high - values, 0)
        axes.errorbar(
            centers,
            values,
            [lower_errors, upper_errors],
            linestyle="",
            ecolor=TEXT,
            elinewidth=1,
            capsize=2,
            capthick=1,
        )

        # The values above the bars, where there is room.
        if len(spaces) <= 2:
            tops = np.maximum(values, high) + 0.012
            for center, top, value in zip(centers, tops, values, strict=True):
                text = f"{value:.2f}"
                axes.text(center, top, text, **_VALUE)

    hide_frame(axes)
    axes.set_axisbelow(True)
    axes.grid(axis="y", color=BORDER, linewidth=0.75)
    titles = [_metric_title(name) for name in _DRAWN_METRICS]
    axes.set_xticks(positions, titles, size=8, color=TEXT)
    levels = ["0", "0.25", "0.5", "0.75", "1"]
    heights = [float(level) for level in levels]
    axes.set_yticks(heights, levels, size=8, color=MUTED)
    axes.set_ylim(0, 1.06)


def _metric_title(name: str) -> str:
    """Return a metric's title, broken into two lines where it is long."""
    title = TITLES[name]
    for long_start, broken_start in _LINE_BREAKS:
        title = title.replace(long_start, broken_start)
    return title


def _draw_classes(
    axes: Axes, spaces: tuple[SpaceScores, ...], labels: list[str]
) -> None:
    """Draw each class's mAP in every Space as a dot. A line joins the dots of a class."""
    rows = np.arange(len(labels))
    columns = []
    for scores in spaces:
        column = [scores.classes[label].map for label in labels]
        columns.append(column)
    values = np.array(columns)

    # A line joins the dots of a class.
    lowest = values.min(axis=0)
    highest = values.max(axis=0)
    axes.hlines(rows, lowest, highest, color=MUTED, linewidth=1, zorder=1)

    # The first Space is drawn last, on top of the others.
    for index in reversed(range(len(spaces))):
        marker = _marker(index)
        axes.plot(values[index], rows, linestyle="", markersize=6, zorder=2, **marker)

    hide_frame(axes)
    axes.set_axisbelow(True)
    axes.grid(axis="x", color=BORDER, linewidth=0.75)
    names = [shorten(label) for label in labels]
    axes.set_yticks(rows, names, **_NAME_TEXT)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"], **_SCALE_TEXT)
    axes.set_xlim(-0.03, 1.03)


def _color(index: int) -> str:
    number = index % len(COLORS)
    return COLORS[number]


def _marker(index: int) -> dict[str, Any]:
    """Return the marker style of a Space."""
    return {
        "marker": _MARKERS[index % len(_MARKERS)],
        "color": _color(index),
        "markeredgecolor": "white",
        "markeredgewidth": 0.5,
    }
