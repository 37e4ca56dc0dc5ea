"""How is a page built so that nothing from outside is markup in it, and no request leaves it?

A page is a tree. The standard library escapes all text and attributes when the tree is written; the
one thing it writes as it is, the style sheet, is a constant. The page allows itself no script, and
of styles only that one; pictures are inside it.
"""

from __future__ import annotations

import unicodedata
from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha256
from xml.etree import ElementTree as ET

from geoseg.analysis.page.style import STYLE

Node = ET.Element | str

_LOST = "\N{REPLACEMENT CHARACTER}"


def element(tag: str, *children: Node | None, **attributes: str | float) -> ET.Element:
    """Return an element.

    Args:
        tag: Its name.
        children: Elements and text, in order; None is left out.
        attributes: An underscore at the end is dropped, as of `class_`; others become hyphens.
    """
    named = {k.rstrip("_").replace("_", "-"): _clean(str(v)) for k, v in attributes.items()}
    made = ET.Element(tag, named)
    for child in children:
        if isinstance(child, str):
            _add_text(made, _clean(child))
        elif child is not None:
            made.append(child)
    return made


def _add_text(parent: ET.Element, text: str) -> None:
    if len(parent):
        parent[-1].tail = (parent[-1].tail or "") + text
    else:
        parent.text = (parent.text or "") + text


def _clean(text: str) -> str:
    """Return text that a page can hold: control characters and halves of characters are lost."""
    return "".join(
        _LOST if unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t" else c for c in text
    )


def name(text: str) -> ET.Element:
    """Return a name from outside, whose direction of writing stays its own."""
    return element("bdi", text)


def section(title: str, *children: Node | None, anchor: str) -> ET.Element:
    """Return a section with its heading."""
    heading = element("h2", title, id=anchor)
    return element("section", heading, *children, aria_labelledby=anchor)


def page(title: str, body: Iterable[ET.Element]) -> bytes:
    """Return a whole page as UTF-8: equal trees are equal bytes.

    Args:
        title: What the window is called.
        body: What it shows.
    """
    digest = b64encode(sha256(STYLE.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; "
        "form-action 'none'"
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="referrer", content="no-referrer"),
        element("meta", name="color-scheme", content="light"),
        element("title", title),
        element("style"),
    )
    head[-1].text = STYLE
    tree = element("html", head, element("body", element("main", *body)), lang="en")
    text = ET.tostring(tree, encoding="unicode", method="html")
    return f"<!DOCTYPE html>\n{text}\n".encode()
