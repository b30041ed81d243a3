"""Sphinx configuration: ``python -m sphinx -W -b html docs docs/_build``.

With ``-D plot_gallery=0`` the examples are shown, but not run; with ``GALLERY=quick`` in the
environment they run in their quick form.
"""

import os
import re
import tomllib
from pathlib import Path

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from PIL import Image, ImageOps
from sphinx.pycode import ModuleAnalyzer
from sphinx_gallery.sorting import FileNameSortKey

import skprop

project = "skprop"
copyright = "2026, The skprop developers"
version = release = skprop.__version__
extensions = [
    "myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode", "numpydoc",
    "sphinx_gallery.gen_gallery", "sphinx_copybutton", "sphinx_design",
]  # fmt: skip
exclude_patterns = ["_build"]
default_role = "py:obj"

myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
numpydoc_show_class_members = False
autodoc_typehints = "none"
toc_object_entries_show_parents = "hide"
suppress_warnings = ["myst.header", "config.cache"]  # config.cache: functions in the configuration

EXAMPLES = {  # the groups of the gallery and what is in them, in reading order
    "First": ("curve_with_gap",),
    "Stories": ("heating", "concrete_strength", "choose_by_evidence", "fat_in_meat"),
    "Tables": ("grid_search", "several_outputs"),
    "Error bars": ("uncertainty", "bayesian_optimisation"),
    "Derivatives": ("engine_deck", "partial_dependence", "scipy_optimize", "second_order"),
    "Many rows": ("two_million_rows", "streaming", "checkpoint"),
    "Looking into a fit": ("learning_curves", "early_stopping", "compare_solvers"),
    "On other machines": ("microcontroller", "onnx_serving"),
}
IN_ORDER = [name for group in EXAMPLES.values() for name in group]
PANELS = {  # of wide figures the part, from left to right, that can be read in a thumbnail
    "heating": (0, 0.5), "concrete_strength": (0, 0.5), "choose_by_evidence": (0, 0.49),
    "several_outputs": (0, 0.345), "uncertainty": (0, 0.325), "bayesian_optimisation": (0, 0.535),
    "engine_deck": (0.478, 1), "partial_dependence": (0, 0.375), "second_order": (0, 0.5),
    "learning_curves": (0, 0.362), "early_stopping": (0, 0.487), "onnx_serving": (0.5, 1),
}  # fmt: skip
INHERITED = {  # modules with methods that are shown at a class which inherits them
    "skprop.predictions": ("FittedNetworks", "MLPSigmoidRegressor"),
    "skprop.flat_objective": ("FlatObjective", "MLPObjective"),
}


def as_a_script(gallery_conf, script_vars):
    """Tell an example where it lies, as Python does; its only argument is that of a quick build."""
    script_vars["example_globals"]["__file__"] = script_vars["src_file"]
    return ["--quick"] if os.environ.get("GALLERY") == "quick" else []


class InReadingOrder(FileNameSortKey):
    """Sort the examples as they are listed here."""

    def __call__(self, filename):
        return IN_ORDER.index(filename.removesuffix(".py"))


sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "within_subsection_order": InReadingOrder,
    "reset_argv": as_a_script,
    "capture_repr": (),  # what a cell ends in; they print what is to be seen
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
    "thumbnail_size": (480, 320),
}

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_exclude = ".linenos, .gp, .go"  # prompts, and what was printed

html_theme = "pydata_sphinx_theme"
html_title = f"skprop {version}"
html_sidebars = {page: [] for page in ("index", "getting_started", "faq", "changelog")}
html_theme_options = {
    "secondary_sidebar_items": ["page-toc"],
    "header_links_before_dropdown": 7,
    "navbar_align": "left",
    "show_toc_level": 2,
}
addresses = tomllib.loads(Path(__file__).parents[1].joinpath("pyproject.toml").read_text("utf-8"))
addresses = addresses["project"].get("urls", {})
if repository := addresses.get("Repository") or addresses.get("Source"):
    html_theme_options["icon_links"] = [
        {"name": "Repository", "url": repository, "icon": "fa-solid fa-code-branch"}
    ]
html_static_path = ["_static"]
html_css_files = ["skprop.css"]
html_js_files = ["skprop.js"]
html_show_sourcelink = False
html_math_renderer = "mathml"


def mathml(node, *, block):
    """A formula as MathML, which browsers show without a script and without a network."""
    tex = node.astext().replace(r"\cr", r"\\").replace(r"\dots", r"\ldots")
    # docutils would put the index of an accented letter below it, let of a pair of bars only the
    # left one grow with what stands beside it, and leave no room around names such as tanh.
    tex = re.sub(r"(\\(?:tilde|dot) \w)_", r"\1{}_", tex)
    ml = re.sub(r">([|‖])<", r' stretchy="false">\1<', tex2mathml(tex, as_block=block))
    room = '<mspace width="0.17em"></mspace>'
    ml = re.sub(r"(<mo>&ApplyFunction;</mo>\s*)(?=<m(?:i|n|su))", rf"\1{room}", ml)
    return re.sub(r"(</m(?:i|n|su\w*)>\s*)(?=<mi>\w+</mi>\s*<mo>&Apply)", rf"\1{room}", ml)


def visit_inline(translator, node):
    translator.body.append(mathml(node, block=False))
    raise nodes.SkipNode


def visit_block(translator, node):
    translator.body.append(f'<div class="formula">{mathml(node, block=True)}</div>')
    raise nodes.SkipNode


def group_the_gallery(app, docname, source):
    """Put the examples on the page of the gallery below the headings of their groups."""
    if docname != "gallery/index":
        return
    end = "\n.. thumbnail-parent-div-close\n\n.. raw:: html\n\n    </div>\n\n"
    begin = (
        '.. raw:: html\n\n    <div class="sphx-glr-thumbnails">\n\n.. thumbnail-parent-div-open\n\n'
    )
    head, *thumbnails = re.split(
        r'(?=\.\. raw:: html\n\n    <div class="sphx-glr-thumbcontainer")', source[0]
    )
    head, _, _ = head.partition(begin)
    thumbnails[-1], _, rest = thumbnails[-1].partition(end)
    for title, names in EXAMPLES.items():
        own = [t for name in names for t in thumbnails if f"`/gallery/{name}`" in t]
        head += f"{title}\n{'-' * len(title)}\n\n{begin}{''.join(own)}{end}"
    source[0] = head + rest


def cut_thumbnails(app):
    """Show a part of each wide figure on the page of the gallery."""
    folder = Path(app.srcdir, "gallery", "images")
    for name, (left, right) in PANELS.items():
        path = folder / f"sphx_glr_{name}_001.png"
        if path.exists():  # it does not where the examples are not run
            with Image.open(path) as figure:
                w, h = figure.size
                part = figure.convert("RGB").crop((int(left * w), 0, int(right * w), h))
            part = ImageOps.pad(part, sphinx_gallery_conf["thumbnail_size"], color="white")
            part.save(folder / "thumb" / f"sphx_glr_{name}_thumb.png")


def inherited_source(app, modname):
    """The source of a module, where the methods of a parent have the name of its child too."""
    if modname not in INHERITED:
        return None
    parent, child = INHERITED[modname]
    analyzer = ModuleAnalyzer.for_module(modname)
    analyzer.find_tags()
    of_child = {
        name.replace(parent, child, 1): tag
        for name, tag in analyzer.tags.items()
        if name.startswith(f"{parent}.")
    }
    return analyzer.code, analyzer.tags | of_child


def strip_code(app, doctree):
    """Drop the blank line with which doctest wants an example to end."""
    for block in doctree.findall(nodes.literal_block):
        if block.rawsource == block.astext():
            block.rawsource = block.rawsource.rstrip()
            block.children = [nodes.Text(block.rawsource)]


def setup(app):
    app.connect("builder-inited", cut_thumbnails, priority=900)  # when the examples have run
    app.connect("source-read", group_the_gallery)
    app.connect("viewcode-find-source", inherited_source)
    app.connect("doctree-read", strip_code)
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
