"""The collection: a Lance table of images and the vectors of its Spaces."""
