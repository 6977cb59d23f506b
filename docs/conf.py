"""Sphinx: `make docs` builds the site into build/docs, from this folder alone; nothing is downloaded."""

import logging
from typing import Any

from sphinx.application import Sphinx

import spikeport
from spikeport.docs.from_code import as_rst, filled

project = "spikeport"
author = "the authors of spikeport"
release = version = spikeport.__version__
language = "en"
smartquotes = False  # -- stands before options

extensions = ["myst_parser", "sphinx.ext.autodoc"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = "spikeport"
html_show_copyright = False
html_copy_source = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_inherit_docstrings = False  # those of torch and SpikingJelly are written for other sites
python_maximum_signature_line_length = 100


logging.getLogger("onnxscript").setLevel(logging.WARNING)  # _fill exports networks, and Sphinx shows what is told


def _fill(app: Sphinx, name: str, source: list[str]) -> None:
    source[0] = filled(source[0])


def _plain(app: Sphinx, what: str, name: str, found: Any, options: Any, lines: list[str]) -> None:
    """Our docstrings are plain text."""
    lines[:] = as_rst("\n".join(lines)).split("\n")


def setup(app: Sphinx) -> None:
    app.connect("source-read", _fill)
    app.connect("autodoc-process-docstring", _plain)
