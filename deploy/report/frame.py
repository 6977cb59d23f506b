"""What the pages share: their templates, their style, and the one script, allowed by its hash and nothing else.

A page is one file that loads nothing. It is complete without the script, which sorts tables and opens what is folded
before it is printed. Every string from a file is escaped.
"""

import base64
import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from .figures.energy import made_in
from .numbers import amount, bounds, exact, number, percent, quantity, span, times

FOLDER = Path(__file__).with_name("templates")


def rendered(template: str, values: Mapping[str, Any]) -> str:
    """The page that a template of this folder makes of `values`."""
    style, script = (_own(name) for name in ("style.html.j2", "script.html.j2"))
    return (
        _environment()
        .get_template(template)
        .render(**values, style=style, script=script, script_hash=Markup(script_hash(script)))
    )


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "quantity": quantity,
        "amount": amount,
        "exact": exact,
        "percent": percent,
        "number": number,
        "times": times,
        "span": span,
        "bounds": lambda ends: bounds(*ends),
        "shape": lambda shape: "×".join(str(n) for n in shape),
        "made_in": made_in,
        "sentence": lambda words: f"{words[:1].upper()}{words[1:].rstrip('.')}.",
        "words": lambda name: str(name).replace("_", " "),
    }
    return environment


def script_hash(script: str) -> str:
    """What a content security policy calls a script: "sha256-" and the base64 digest of its text."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _own(name: str) -> Markup:
    # our own files, no templates: they hold nothing from a run, and stand in the page as they are
    return Markup((FOLDER / name).read_text(encoding="utf-8"))
