"""The verdict on a tuned Space, in one sentence."""

from __future__ import annotations

from lookalike.evaluation.scores import Estimate
from lookalike.learning.report import Gains
from lookalike.types import Purpose

__all__ = ["is_worth_storing", "verdict"]


def is_worth_storing(
    purpose: Purpose, new_images: Gains, new_labels: Gains | None
) -> bool:
    """Return whether the gains show that a Space is better than its base.

    The whole interval of the gain on new images must be above 0. For ``anything``, the interval of
    the gain on new labels must not be below 0 as a whole.
    """
    if not new_images.is_better:
        return False
    if purpose == "these-classes" or new_labels is None:
        return True
    return not new_labels.is_worse


def verdict(
    purpose: Purpose, base: str, new_images: Gains, new_labels: Gains | None
) -> str:
    """Return a sentence: what a Space is good for, or why it is refused."""
    gain = _change(new_images.gain)
    if not new_images.is_better:
        return (
            f"Not stored: a change of mAP by {gain} on new images of these labels is not sure to "
            f"be a gain, so keep searching in {base}, or label more images."
        )
    worth = is_worth_storing(purpose, new_images, new_labels)
    if new_labels is None:
        return (
            f"Better for new images of these two labels, by {gain} mAP; whether images of other "
            "labels are found better or worse was not measured."
        )
    other = _change(new_labels.gain)
    if not worth:
        return (
            f"Not stored: images of new labels are found worse, by {other} mAP, so use the purpose "
            "these-classes if only these labels matter."
        )
    start = f"Better for new images of these {new_images.labels} labels, by {gain} mAP; images of"
    if new_labels.is_better:
        return f"{start} other labels are found better as well, by {other}."
    if new_labels.is_worse:
        return f"{start} other labels are found worse, by {other}, so search for those in {base}."
    return f"{start} other labels are found about as well as before, {other}."


def _change(estimate: Estimate) -> str:
    value, low, high = estimate
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"
