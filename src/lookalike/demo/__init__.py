"""The demo: index, search, evaluate, map and report."""
