"""Datasets to start with: Caltech 101, and a sample that is drawn here."""
