"""Upkeep of a collection: optimize, check, back up, restore."""
