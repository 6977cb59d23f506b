"""Put an SVG drawing into an HTML page so that it can draw and do nothing else.

Elements stand on a list of those that draw; anything that acts (scripts, event handlers, links, animation) or loads
(references that leave the drawing) is refused, not repaired: our own drawings hold none. Ids get a prefix, so that two
drawings on one page do not share a clip path or a glyph.
"""

import re
from xml.etree import ElementTree

from ....errors import InputError

DRAWS = frozenset({"svg", "g", "defs", "symbol", "use", "title", "desc", "path", "rect", "circle", "ellipse", "line"})
DRAWS |= {"polyline", "polygon", "text", "tspan", "marker", "clipPath", "mask", "pattern"}
DRAWS |= {"linearGradient", "radialGradient", "stop"}
REFERENCES = frozenset({"aria-labelledby", "aria-describedby"})  # hold ids without a '#'
SVG = "{http://www.w3.org/2000/svg}"
XLINK_HREF = "{http://www.w3.org/1999/xlink}href"
# Matplotlib writes this sheet into every figure. In a page it would reach everything, so the root element says it.
MATPLOTLIB_STYLE = "*{stroke-linejoin:round;stroke-linecap:butt}"
INHERITED = {"stroke-linejoin": "round", "stroke-linecap": "butt"}


def inline_svg(svg: str, *, name: str, label: str) -> str:
    """The drawing as an HTML fragment: one <svg> element, ids prefixed with `name-`, `label` for screen readers.

    Prolog, doctype, comments, metadata and class names are left out. Raises InputError if the drawing is not SVG, or
    holds what could act or load.
    """
    if "<!ENTITY" in svg:
        raise _refusal(name, "an entity declaration")
    try:
        root = ElementTree.fromstring(svg)
    except ElementTree.ParseError as error:
        raise InputError(f"Drawing '{name}' must be well-formed SVG, but: {error}; draw it again.") from error
    if root.tag not in (f"{SVG}svg", "svg"):
        raise InputError(f"Drawing '{name}' must be an <svg> element, but is <{root.tag}>; draw it again.")
    drawn = _clean(root, name)
    if any(_is_matplotlib_style(element) for element in root.iter()):
        drawn.attrib |= INHERITED
    drawn.attrib |= {"role": "img", "aria-label": label}
    return ElementTree.tostring(drawn, encoding="unicode")


def _clean(element: ElementTree.Element, name: str) -> ElementTree.Element:
    # HTML knows the elements of an inline <svg> by their bare names
    clean = ElementTree.Element(element.tag.removeprefix(SVG), _attributes(element, name))
    clean.text, clean.tail = element.text, element.tail
    for child in element:
        tag = child.tag.removeprefix(SVG)
        if tag == "metadata" or _is_matplotlib_style(child):
            continue
        if tag not in DRAWS:
            raise _refusal(name, f"<{tag}>")
        clean.append(_clean(child, name))
    return clean


def _is_matplotlib_style(element: ElementTree.Element) -> bool:
    text = "".join((element.text or "").split())
    return element.tag == f"{SVG}style" and text == MATPLOTLIB_STYLE and not len(element)


def _attributes(element: ElementTree.Element, name: str) -> dict[str, str]:
    clean: dict[str, str] = {}
    for key, value in element.attrib.items():
        word = "href" if key == XLINK_HREF else key
        if word.lower().startswith("on"):
            raise _refusal(name, f"the event handler '{word}'")
        if (word == "href" and not value.startswith("#")) or _loads(value):
            raise _refusal(name, f"a reference to '{value[:60]}' outside the drawing")
        if word.startswith("{") or word == "class":
            continue  # an editor's notes; a class could only meet the page's own style
        clean[word] = _prefixed(word, value, name)
    return clean


def _loads(value: str) -> bool:
    """Does a value, read as CSS, reach outside? Escapes could hide it, and no drawing needs them."""
    outward = re.sub(r"url\(\s*['\"]?#", "", value, flags=re.IGNORECASE)
    return re.search(r"url\(|image-set\(|src\(|\\", outward, flags=re.IGNORECASE) is not None


def _prefixed(word: str, value: str, name: str) -> str:
    if word == "id":
        return f"{name}-{value}"
    if word == "href":
        return f"#{name}-{value[1:]}"
    if word in REFERENCES:
        return " ".join(f"{name}-{one}" for one in value.split())
    return re.sub(r"(url\(\s*['\"]?#)", rf"\g<1>{name}-", value, flags=re.IGNORECASE)


def _refusal(name: str, what: str) -> InputError:
    return InputError(f"Drawing '{name}' must only draw, but holds {what}; draw it again with `spikeport search`.")
