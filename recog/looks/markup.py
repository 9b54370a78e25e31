"""The pieces of the page: escaped text, tables, embedded pictures, and the page itself,
which loads nothing from the network."""

import base64
import html
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

STYLE = Path(__file__).with_name('style.css')


class Html(str):
    """Text that is HTML already."""


class Section(NamedTuple):
    """A part of the page: the name that links to it, its heading, what it holds, and whether half of a wide
    page is enough for it."""

    name: str
    title: str
    body: Html
    half: bool = False


def safe(value: Any) -> str:
    """A value as HTML; what is not HTML already is escaped."""
    return str(value) if isinstance(value, Html) else html.escape(str(value))


def element(name: str, *parts: Any, **attributes: str) -> Html:
    """An element with these parts; `class_` is its class."""
    given = ''.join(f' {key.rstrip("_")}="{html.escape(value)}"' for key, value in attributes.items())
    return Html(f'<{name}{given}>{"".join(map(safe, parts))}</{name}>')


def joined(parts: Iterable[Any], between: str = '\n') -> Html:
    """Several pieces, one after another."""
    return Html(between.join(map(safe, parts)))


def paragraph(*parts: Any, faint: bool = False) -> Html:
    """A paragraph."""
    return element('p', *parts, **({'class_': 'faint'} if faint else {}))


def quoted(text: str) -> Html:
    """A text from the data, which may be written in either direction."""
    return element('bdi', text)


def table(heads: Sequence[Any], rows: Iterable[Sequence[Any]], texts: int = 1) -> Html:
    """A table that scrolls by itself where the window is narrow; its first `texts` columns hold text,
    the others numbers."""
    def line(kind: str, cells: Sequence[Any]) -> Html:
        return element('tr', *(element(kind, cell, **({'class_': 'text'} if place < texts else {}))
                               for place, cell in enumerate(cells)))

    head = element('thead', line('th', heads)) if any(heads) else ''
    return element('div', element('table', head, element('tbody', *(line('td', row) for row in rows))),
                   class_='wide')


def folded(title: str, body: Any) -> Html:
    """A part that opens on a click."""
    return element('details', element('summary', title), body)


def picture(png: Path | bytes, alternative: str) -> Html:
    """A PNG, of a file or its bytes, embedded in the page."""
    data = base64.b64encode(png if isinstance(png, bytes) else png.read_bytes()).decode()
    return Html(f'<img src="data:image/png;base64,{data}" alt="{html.escape(alternative)}">')


def drawing(svg: str, name: str, alternative: str, ink: str, paper: str) -> Html:
    """An SVG of matplotlib, embedded in the page's colours: `ink` becomes the colour
    of the text, `paper` becomes transparent.

    Its ids get a prefix, because all charts are in one page.
    """
    inner = svg[svg.index('<svg'):]
    inner = re.sub(r'<!--.*?-->|<metadata>.*?</metadata>', '', inner, flags=re.DOTALL)
    inner = re.sub(r' xmlns(:\w+)?="[^"]*"', '', inner).replace('xlink:href', 'href')
    inner = re.sub(r'(\bid="|href="#|url\(#)', rf'\g<1>{name}-', inner)
    inner = inner.replace(ink, 'currentColor').replace(paper, 'none')
    return Html(inner.replace('<svg', f'<svg role="img" aria-label="{html.escape(alternative)}"', 1).strip())


def captioned(body: Html, caption: Any, kind: str = '') -> Html:
    """A picture with a caption below it."""
    return element('figure', body, element('figcaption', caption), **({'class_': kind} if kind else {}))


def page(title: str, lead: Any, sections: Sequence[Section]) -> str:
    """The whole page."""
    style = STYLE.read_text(encoding='utf-8')
    links = element('nav', *(element('a', section.title, href=f'#{section.name}') for section in sections))
    body = joined(element('section', element('h2', section.title), '\n', section.body, id=section.name,
                          **({'class_': 'half'} if section.half else {})) for section in sections)
    return (f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f'<title>{safe(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n'
            f'<header>\n{element("h1", title)}\n{safe(lead)}\n{links}\n</header>\n'
            f'<main>\n{body}\n</main>\n</body>\n</html>\n')
