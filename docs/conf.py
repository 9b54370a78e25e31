"""How Sphinx builds the site; docs/development/site.md says why it is Sphinx."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import inserts  # noqa: E402

project = 'recog'
extensions = ['myst_parser', 'sphinx_copybutton']
source_suffix = {'.md': 'markdown'}
myst_heading_anchors = 3
highlight_language = 'none'  # of what stands indented: commands and what they print
smartquotes = False  # '' and --option are meant as they stand
copybutton_prompt_text = '$ '
html_theme, html_title = 'furo', 'recog'
html_static_path, html_css_files = ['static'], ['site.css']
html_show_copyright = html_show_sphinx = html_copy_source = False


def setup(app):
    """Each page is completed when it is read."""
    def read(app, name, source):
        source[0] = inserts.page(source[0], name)

    app.connect('source-read', read)
