"""The pieces of the page: escaped text, tables, embedded pictures, and the page itself,
which loads nothing from the network."""

import base64
import html
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1b1e23; --faint: #667080; --line: #d9dde3;
  --card: #f5f6f8;
  --good: #1d7a4c; --bad: #b3261e; --bad-paper: #fbe3e1; --link: #1f5fa8; }
@media (prefers-color-scheme: dark) { :root { --paper: #15181d; --ink: #e4e7eb; --faint: #98a2b0;
  --line: #343a44;
  --card: #1e2229; --good: #62c996; --bad: #ff8d84; --bad-paper: #4a2522; --link: #8dbdf5; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1rem clamp(.75rem, 3vw, 2rem) 4rem;
  background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: .5rem 0 0; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .75rem; padding-top: .5rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
p, ul { max-width: 52rem; }
a { color: var(--link); }
nav { display: flex; flex-wrap: wrap; gap: .25rem 1rem; margin: 1rem 0; }
code, bdi, .pieces { font-family: ui-monospace, monospace; font-size: .92em; overflow-wrap: anywhere; }
.faint { color: var(--faint); }
.wide { overflow-x: auto; max-width: 100%; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .75rem .25rem 0; border-bottom: 1px solid var(--line); text-align: right;
  vertical-align: top; }
th { color: var(--faint); font-weight: 600; white-space: nowrap; }
td.text, th.text { text-align: left; }
td:first-child { white-space: nowrap; }
figure { margin: 0; min-width: 0; }
figcaption { font-size: .9rem; color: var(--faint); overflow-wrap: anywhere; }
svg, img { display: block; max-width: 100%; height: auto; }
.charts, .cards { display: grid; gap: 1.25rem; margin: 1rem 0; }
.charts { grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); }
.cards { grid-template-columns: repeat(auto-fill, minmax(min(100%, 17rem), 1fr)); }
.cards > figure { background: var(--card); border: 1px solid var(--line); border-radius: .4rem;
  padding: .75rem; }
.cards img { min-height: 2.5rem; max-height: 9rem; object-fit: contain; margin: 0 auto .5rem; }
.cards dl { display: grid; grid-template-columns: auto 1fr; gap: 0 .6rem; margin: 0; color: var(--ink); }
.cards dt { color: var(--faint); }
.cards dd { margin: 0; min-width: 0; }
.photo { margin: 1rem 0; }
.photo img { max-width: min(100%, 50rem); border: 1px solid var(--line); border-radius: .4rem;
  background: #ffffff; }
mark { background: var(--bad-paper); color: var(--bad); border-radius: .15rem; padding: 0 .1em;
  text-decoration: underline; }
pre { overflow-x: auto; background: var(--card); padding: .75rem; font-size: .85rem; }
summary { cursor: pointer; color: var(--link); }
@media print { nav { display: none; } }
"""


class Html(str):
    """Text that is HTML already."""


class Section(NamedTuple):
    """A part of the page: the name that links to it, its heading, and what it holds."""

    name: str
    title: str
    body: Html


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


def picture(file: Path, alternative: str) -> Html:
    """A PNG file, embedded in the page."""
    data = base64.b64encode(file.read_bytes()).decode()
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
    links = element('nav', *(element('a', section.title, href=f'#{section.name}') for section in sections))
    body = joined(element('section', element('h2', section.title), '\n', section.body, id=section.name)
                  for section in sections)
    return (f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f'<title>{safe(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n'
            f'<header>\n{element("h1", title)}\n{safe(lead)}\n{links}\n</header>\n'
            f'<main>\n{body}\n</main>\n</body>\n</html>\n')
