"""Groups of images that show the same: identical ones, copies and similar ones."""
