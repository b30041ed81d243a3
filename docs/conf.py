"""Sphinx configuration: ``python -m sphinx -W -b html docs docs/_build``.

With ``-D plot_gallery=0`` the examples are shown, but not run.
"""

import re

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx_gallery.sorting import FileNameSortKey

import skprop

project = "skprop"
copyright = "2026, The skprop developers"
version = release = skprop.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc", "sphinx_gallery.gen_gallery"]
exclude_patterns = ["_build"]
default_role = "py:obj"

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
numpydoc_show_class_members = False
autodoc_typehints = "none"
toc_object_entries_show_parents = "hide"
suppress_warnings = ["myst.header", "config.cache"]  # config.cache: functions in the configuration

EXAMPLES = (  # in the order of the gallery
    "concrete_strength", "learning_curves", "early_stopping", "grid_search", "compare_solvers",
    "partial_dependence", "several_outputs", "streaming", "checkpoint", "scipy_optimize",
    "second_order", "uncertainty", "onnx_serving",
)  # fmt: skip


def as_a_script(gallery_conf, script_vars):
    """Tell an example where it lies, as Python does; it has no arguments."""
    script_vars["example_globals"]["__file__"] = script_vars["src_file"]
    return []


class InReadingOrder(FileNameSortKey):
    """Sort the examples as they are listed here."""

    def __call__(self, filename):
        return EXAMPLES.index(filename.removesuffix(".py"))


sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "within_subsection_order": InReadingOrder,
    "reset_argv": as_a_script,
    "backreferences_dir": "gallery/of",
    "doc_module": ("skprop",),
    "abort_on_example_error": True,
    "download_all_examples": False,
    "notebook_extensions": {},  # the examples read files beside them, by __file__
    "show_signature": False,
    "min_reported_time": 1e9,
    "write_computation_times": False,  # those pages fetch scripts from other hosts
    "remove_config_comments": True,
    "matplotlib_animations": False,
}

html_theme = "pydata_sphinx_theme"
html_title = f"skprop {version}"
html_sidebars = {page: [] for page in ("index", "getting_started", "api", "changelog")}
html_theme_options = {
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
    "header_links_before_dropdown": 7,
    "show_toc_level": 3,
}
html_static_path = ["_static"]
html_css_files = ["skprop.css"]
html_show_sourcelink = False
html_math_renderer = "mathml"


def mathml(node, *, block):
    """A formula as MathML, which browsers show without a script and without a network."""
    tex = node.astext().replace(r"\cr", r"\\").replace(r"\dots", r"\ldots")
    # docutils would put the index of an accented letter below it, and let of a pair of bars
    # only the left one grow with what stands beside it.
    tex = re.sub(r"(\\(?:tilde|dot) \w)_", r"\1{}_", tex)
    return re.sub(r">([|‖])<", r' stretchy="false">\1<', tex2mathml(tex, as_block=block))


def visit_inline(translator, node):
    translator.body.append(mathml(node, block=False))
    raise nodes.SkipNode


def visit_block(translator, node):
    translator.body.append(f'<div class="formula">{mathml(node, block=True)}</div>')
    raise nodes.SkipNode


def strip_code(app, doctree):
    """Drop the blank line with which doctest wants an example to end."""
    for block in doctree.findall(nodes.literal_block):
        if block.rawsource == block.astext():
            block.rawsource = block.rawsource.rstrip()
            block.children = [nodes.Text(block.rawsource)]


def setup(app):
    app.connect("doctree-read", strip_code)
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
