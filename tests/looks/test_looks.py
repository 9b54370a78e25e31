"""How pages look: one palette, text that is escaped, and charts in the colours of the page."""

import re
import xml.etree.ElementTree

import numpy as np

from recog.looks import charts, markup, sheets

HOSTILE = '<script>alert("1")</script>&$x_'
NETWORK = re.compile(r'(?:src|href|action|data|poster)\s*=\s*["\']?\s*(?:https?:)?//'
                     r'|url\(\s*["\']?(?:https?:)?//|@import', re.I)


def test_sheets_have_the_light_colours_of_the_style_sheet():
    light = dict(re.findall(r'--([a-z-]+): (#[0-9a-f]+)', markup.STYLE.read_text().partition('@media')[0]))
    for name in ('paper', 'ink', 'faint', 'line', 'good', 'bad'):
        assert getattr(sheets, name.upper()) == light[name]


def test_the_dark_palette_has_every_colour_of_the_light_one():
    light, dark = markup.STYLE.read_text().split('@media', 2)[:2]
    names = re.compile(r'--([a-z-]+):')
    assert names.findall(light) == names.findall(dark) != []


def test_what_comes_from_data_is_escaped():
    assert '<script' not in markup.table((HOSTILE,), [(HOSTILE,)])
    assert '&lt;script' in markup.paragraph(HOSTILE)
    assert '<b>' not in markup.element('p', '<b>', title='"<b>')
    assert markup.joined([markup.Html('<b>'), '<i>']) == '<b>\n&lt;i&gt;'


def test_a_page_holds_its_style_and_asks_the_network_nothing():
    parts = [markup.Section('a', HOSTILE, markup.paragraph(HOSTILE)),
             markup.Section('b', 'B', markup.Html(''), True)]
    page = markup.page(HOSTILE, HOSTILE, parts)
    assert '--paper' in page and '<script' not in page and not NETWORK.search(page)
    assert '<section id="b" class="half">' in page and 'href="#a"' in page


def test_curves_are_files_and_parts_of_the_page_with_a_legend(tmp_path):
    album = charts.Album(tmp_path)
    lines = {HOSTILE: [(1, 2.0), (2, 1.0)], 'b': [(1, 1.0)]}
    drawn = album.chart('loss', f'of {HOSTILE}', charts.curves, lines, 'loss')
    assert 'currentColor' in drawn and charts.PAPER not in drawn and '<script' not in drawn
    assert xml.etree.ElementTree.parse(tmp_path / 'loss.svg').getroot().tag.endswith('svg')
    assert (tmp_path / 'loss.png').stat().st_size
    assert 'data:image/png' in album.photograph('a', 'b', np.zeros((4, 4), np.uint8))


def test_long_texts_are_wrapped_and_cut():
    lines = sheets.wrapped('some words that are longer than one line', 100, 11, 2)
    assert len(lines) == 2 and lines[-1].endswith('…') and sheets.wrapped('caf\udce9', 100, 11, 1) == ['caf?']
