"""Projection: a 2-D map of a Space."""
