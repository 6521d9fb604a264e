"""Sentences about calibrations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lookalike.cli import output

if TYPE_CHECKING:
    from lookalike.retrieval.confidence import CalibrationState, SpaceCalibration

__all__ = ["describe_rates", "describe_state"]


def describe_rates(calibration: SpaceCalibration) -> str:
    """Return the sentence that says how often a Space answers."""
    kept = f"An image like those of this collection is answered in {calibration.kept.value:.0%}"
    absent = calibration.absent
    if absent is None:
        return (
            f"{kept} of cases. How often an image of another kind is answered is not known, "
            "because that takes images of two labels."
        )
    rates = f"{kept} of cases; an image of another kind in {absent.value:.0%}."
    if not calibration.can_tell:
        return f"Cannot tell whether an image is of a kind that is not here. {rates}"
    return rates


def describe_state(state: CalibrationState) -> str:
    """Return what was measured, and what has changed since."""
    calibration = state.calibration
    images = output.plural(calibration.rows, "image")
    text = f"{images} at version {calibration.version}"
    changes = []
    if state.added:
        added = f"{state.added:,} added"
        changes.append(added)
    if state.removed:
        removed = f"{state.removed:,} removed"
        changes.append(removed)
    if changes:
        listed = " and ".join(changes)
        text += f", {listed} since"
    if not state.is_usable:
        return f"{text}: outdated, calibrate again"
    return text
