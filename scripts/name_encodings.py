"""Write what the sentence encoder of the extra ``words`` gives for each narrow word of the table.

Run it after ``scripts/word_table.py``. It takes half a minute.
"""

from __future__ import annotations

import sys

import numpy as np

from lookalike.models.text.phrases import ENCODER, ENCODINGS
from lookalike.models.text.table import WordTable
from lookalike.models.text.tower import load_text

LARGEST = 127


def main() -> int:
    names = WordTable.load().narrow_words()
    encodings = load_text(ENCODER).embed(names)
    # A row's numbers become multiples of 1/127 of its largest; its direction remains.
    sizes = np.abs(encodings)
    steps = sizes.max(axis=1, keepdims=True) / LARGEST
    rounded = np.rint(encodings / steps)
    np.save(ENCODINGS, rounded.astype(np.int8))
    size = ENCODINGS.stat().st_size
    print(f"{len(names):,} names, {size:,} bytes: {ENCODINGS}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
