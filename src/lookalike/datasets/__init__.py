"""Pictures to begin with: Caltech 101, and a sample drawn by our own code."""
