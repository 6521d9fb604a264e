"""The demo: index, search, evaluate, map, and one report that shows it all."""
