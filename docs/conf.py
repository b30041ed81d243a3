"""Sphinx configuration: ``python -m sphinx -W -b html docs docs/_build``."""

import skprop

project = "skprop"
copyright = "2026, The skprop developers"
version = release = skprop.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
numpydoc_show_class_members = False
default_role = "literal"
autodoc_typehints = "none"
html_theme = "pydata_sphinx_theme"
html_theme_options = {"show_prev_next": False, "secondary_sidebar_items": ["page-toc"]}
html_sidebars = {"**": []}
exclude_patterns = ["_build"]
suppress_warnings = ["myst.header"]
