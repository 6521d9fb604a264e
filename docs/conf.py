"""Configuration of Sphinx; `scripts/docs` builds the documentation."""

from lookalike import __version__

project = "Lookalike"
author = "The Lookalike authors"
copyright = author  # noqa: A001 (Sphinx reads this name)
release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = []

# Markdown: a heading is a link target, so that a link to a section is checked.
myst_heading_anchors = 3
myst_enable_extensions = ["attrs_inline"]

# Docstrings follow numpydoc; types come from the annotations.
napoleon_google_docstring = False
napoleon_use_rtype = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True

html_theme = "furo"
html_title = "Lookalike"
html_static_path = []
html_show_sphinx = False
pygments_style = "friendly"
pygments_dark_style = "monokai"
