"""Models: the catalogue, their weights, their graphs, and the embedders that run them."""
