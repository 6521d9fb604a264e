"""Ids looked up among others in ascending order."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lookalike.types import Ids, Places

__all__ = ["places_of_ids"]


def places_of_ids(ids: Ids, sorted_ids: Ids) -> tuple[Places, npt.NDArray[np.bool_]]:
    """Return the place of each id among ids in ascending order.

    Parameters
    ----------
    ids, sorted_ids
        int64 ``[n]`` and ``[m]``, the ids to find, and those to search.

    Returns
    -------
    places
        intp ``[n]``; of an id that is missing, any place.
    is_found
        bool ``[n]``, whether it is there.
    """
    count = len(ids)
    if not len(sorted_ids):
        return np.zeros(count, np.intp), np.zeros(count, np.bool_)
    last = len(sorted_ids) - 1
    # Faster than NumPy's function, which checks its arguments first.
    places = sorted_ids.searchsorted(ids)
    places = np.minimum(places, last)
    is_found = sorted_ids[places] == ids
    return places, is_found
