"""A server: the collections over HTTP, for the page and for programs."""
