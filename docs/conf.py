"""The documentation site: python -m sphinx -W docs docs/_build

Pages are the Markdown files of this folder; the reference is generated from the code (site/), the gallery by running
../examples.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from xkd_eval import __version__  # noqa: E402

project = "xkd"
author = "The xkd authors"
copyright = author
version = release = __version__

extensions = [
    "docs.site",
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "examples"]
# ref.python: a word in a docstring that is the name of several attributes is no cross-reference.
suppress_warnings = ["config.cache", "ref.python"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
highlight_language = "none"  # indented blocks are commands and what they print
smartquotes = False  # they would make a dash of --data
default_role = "literal"  # docstrings are Markdown's cousins: `name` is code

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
# The headings under which RunOptions has its fields, and `--help` its options.
napoleon_custom_sections = [
    ("What is evaluated", "params_style"),
    ("What the model is fed with in place of its own input", "params_style"),
    ("Rules that change the protocol hash", "params_style"),
    ("How it runs", "params_style"),
]

sphinx_gallery_conf = {
    "examples_dirs": ["../examples"],
    "gallery_dirs": ["gallery"],
    "filename_pattern": r"/plot_",
    "copyfile_regex": r".*HEADER\.rst",
    "abort_on_example_error": True,
    "parallel": True,  # as many as sphinx-build -j says
    # Figures of the package are unknown to pyplot, which the first scraper asks.
    "image_scrapers": ("matplotlib", "docs.site.gallery.last_figure"),
    "capture_repr": ("_repr_html_", "__repr__"),
    "ignore_repr_types": r"ShownFigure|matplotlib",
    "remove_config_comments": True,
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
}

html_theme = "furo"
html_title = f"xkd {__version__}"
html_static_path = ["site/static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
copybutton_prompt_text = "$ "
