"""The routes of the REST interface and of the page, one module a subject."""
