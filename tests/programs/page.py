"""Drives the page of `recog serve` in headless Chromium: files, crops, drawings, change of reader, places by
keyboard, bad file, narrow and dark screen.

    pip install 'recog[serve]' playwright && python tests/programs/page.py [WORDS FORMULAS] [--shots FOLDER]
    [--chromium FILE]

WORDS and FORMULAS are workdirs; without them two are made that have hardly been trained. What the page shows
must be what recog.load reads. Says "not run" where there is no Chromium.
"""

import argparse
import base64
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

ROOT = Path(__file__).parents[2]
INK = """() => {
  const paper = document.getElementById('canvas');
  const { data } = paper.getContext('2d').getImageData(0, 0, paper.width, paper.height);
  return data.filter((level, place) => place % 4 == 3 && level > 128).length;
}"""
SEEN = "document.getElementById('seen').toDataURL()"
BRING = """([kind, encoded]) => {
  const files = new DataTransfer();
  const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
  files.items.add(new File([bytes], 'brought.png', { type: 'image/png' }));
  document.body.dispatchEvent(kind === 'paste'
    ? new ClipboardEvent(kind, { clipboardData: files, bubbles: true })
    : new DragEvent(kind, { dataTransfer: files, bubbles: true, cancelable: true }));
}"""
TOKEN = 'only-for-this-test'
WIDE, NARROW = {'width': 1280, 'height': 900}, {'width': 390, 'height': 844}


@contextlib.contextmanager
def served(*arguments, environment=()):
    """A server of its own; its address."""
    command = [sys.executable, '-m', 'recog', 'serve', *map(str, arguments), '--port', '0', '--batch', '1']
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **dict(environment)},
                               stderr=subprocess.PIPE, text=True)
    try:
        said = ''
        while not (found := re.search(r'http://\S+/', said)):
            line = process.stderr.readline()
            if not line:
                raise RuntimeError(f'the server has ended:\n{said}')
            said += line
        wait(found.group() + 'health')
        yield found.group()
        process.send_signal(signal.SIGTERM)
        status = process.wait(60)
        if status:
            raise RuntimeError(f'the server ended with status {status}:\n{process.stderr.read()}')
    finally:
        process.kill()


def wait(address):
    """Until the models are warm."""
    for _ in range(600):
        try:
            return urllib.request.urlopen(address).read()
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.5)
    raise RuntimeError(f'{address} is not ready after five minutes')


def check(what, holds):
    """Print one line for each check."""
    print(('ok   ' if holds else 'FAIL ') + what, flush=True)
    if not holds:
        raise SystemExit(1)


class Visitor:
    """A page, all that it asked for, and what the browser complained of."""

    def __init__(self, browser, address, shots, **context):
        self.page = browser.new_context(**context).new_page()
        self.address, self.shots, self.foreign, self.complaints = address, shots, [], []
        self.page.on('request', self._asked)
        self.page.on('console', lambda said: said.type == 'error' and self.complaints.append(said.text))
        self.page.on('pageerror', lambda error: self.complaints.append(str(error)))
        self.page.goto(address)

    def _asked(self, request):
        if not request.url.startswith((self.address, 'data:', 'blob:')):
            self.foreign.append(request.url)

    def answered(self):
        """The text of the answer, once it is there."""
        self.page.wait_for_selector('#answer', state='visible')
        formula = self.page.locator('#source').is_visible()
        return self.page.input_value('#latex') if formula else self.page.text_content('#text')

    def upload(self, file):
        self.page.set_input_files('#file', str(file))

    def shot(self, name):
        self.page.wait_for_timeout(200)
        self.page.screenshot(path=str(self.shots / f'{name}.png'), full_page=True)

    def stroke(self, points):
        """Draw a line through points of the paper, given as shares of its width and height."""
        box = self.page.locator('#canvas').bounding_box()
        for number, (x, y) in enumerate(points):
            self.page.mouse.move(box['x'] + x * box['width'], box['y'] + y * box['height'], steps=4)
            if not number:
                self.page.mouse.down()
        self.page.mouse.up()

    def sound(self, allowed=0):
        """Nothing came from elsewhere and no script failed; the browser notes each refused request."""
        check('nothing is fetched from elsewhere', not self.foreign)
        check(f'the browser complains of nothing but {allowed} refused requests',
              len(self.complaints) == allowed and all('status of 4' in said for said in self.complaints))
        narrow = self.page.evaluate('document.documentElement.scrollWidth <= innerWidth')
        check('nothing sticks out at the side', narrow)
        self.page.context.close()


def hardly_trained(folder, name):
    """A workdir of a demo after two steps, for what depends on no accuracy."""
    few = ('train.length=2 steps', 'train.batch=8', 'eval.batch=8', 'eval.limit=8', 'eval.every=2 steps',
           'data.threads=0', 'checkpoint.every=2 steps', 'log.to=')
    recipe = f'{ROOT}/experiments/{name}.py:demo'
    subprocess.run([sys.executable, '-m', 'recog', 'train', '--config', recipe, '--workdir',
                    str(folder / name),
                    *(f'--config.{field}' for field in few)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return folder / name


def samples(folder):
    """The sample images of a workdir."""
    return sorted((folder / 'samples').glob('*.png'))


def upload_and_change(browser, address, shots, words, formulas, trained):
    """Files, readers, n-best, places, copying, formulas to change, and what is no image."""
    import recog
    from recog.metrics.formulas import formula_tokens, well_formed
    from recog.text.latex import to_latex

    visitor = Visitor(browser, address, shots, viewport=WIDE,
                      permissions=['clipboard-read', 'clipboard-write'])
    page = visitor.page
    page.wait_for_selector('#offered img')
    reads = page.text_content('#reads')
    check(f'the page says what is read: {reads!r}', 'one word' in reads)
    visitor.shot('start')
    image = samples(words)[1]
    visitor.upload(image)
    read, best = visitor.answered(), recog.load(words, beam=3, best=3)(image)
    check(f'an uploaded word is read: {read!r}', read == best.text)
    listed = page.locator('#rows tr td:first-child').all_text_contents()
    check(f'the texts of the beam are listed: {listed}', listed == [text for text, *_ in best.others])
    places(visitor, read, trained)
    visitor.shot('wide')
    for kind, other in (('paste', samples(words)[2]), ('drop', samples(words)[3])):
        page.evaluate(BRING, [kind, base64.b64encode(other.read_bytes()).decode()])
        check(f'the same by {kind}', visitor.answered() == recog.load(words, beam=3)(other).text)
    visitor.upload(image)
    visitor.answered()
    page.click('#copies button')
    check('the text is copied', page.evaluate('navigator.clipboard.readText()') == read)
    formula = samples(formulas)[2]
    other, expected = (answer.text for answer in recog.load(formulas, beam=3)([image, formula]))
    page.select_option('#model', 'formulas')
    check('another reader reads the same image', visitor.answered() == to_latex(formula_tokens(other)))
    visitor.upload(formula)
    text, drawn = visitor.answered(), page.locator('#formula').is_visible()
    check(f'an uploaded formula is read: {text}', text == to_latex(formula_tokens(expected)))
    check(f'it is drawn if it is well-formed: {drawn}', drawn == well_formed(formula_tokens(text)))
    visitor.shot('formula')
    page.fill('#latex', r'\frac{1}{2}')
    page.wait_for_timeout(1500)
    page.click('#copies button >> nth=2')
    copied = page.evaluate('navigator.clipboard.readText()')
    check('a changed formula is set again, also as MathML',
          '<mfrac>' in copied and page.locator('#formula').is_visible())
    page.set_input_files('#file', files=[{'name': 'letter.png', 'mimeType': 'image/png',
                                          'buffer': b'Dear reader'}])
    page.wait_for_selector('#error', state='visible')
    check(f'what is no image is refused: {page.text_content("#error")}',
          not page.locator('#answer').is_visible())
    visitor.shot('refused')
    visitor.sound(allowed=1)


def places(visitor, read, trained):
    """A bar for each character, and where it was read from, by keyboard."""
    page = visitor.page
    bars = page.locator('#tokens button')
    check('each character has a bar', bars.count() == len(read))
    if read:
        plain = page.evaluate(SEEN)
        bars.first.focus()
        page.keyboard.press('End')
        check('a character is chosen by keyboard', bars.last.get_attribute('aria-pressed') == 'true')
        # Who has hardly learnt anything may read a character in the padding, which is not shown.
        check('the place of a character is shown', page.evaluate(SEEN) != plain or not trained)
        on_image = page.locator('#file-way').is_visible()
        check('its box is on the image', page.locator('#spot').is_visible() == on_image)


def several(browser, address, shots, words):
    """Several files in their order, the session, a crop by keyboard, a hint, and all readers side by side."""
    import cv2
    import numpy as np

    import recog

    visitor = Visitor(browser, address, shots, viewport=WIDE)
    page = visitor.page
    files = samples(words)[:4]
    page.set_input_files('#file', [str(file) for file in files])
    texts = [answer.text for answer in recog.load(words, beam=3)(files)]
    page.wait_for_selector('#items li:nth-child(4) .who:text("%")')
    listed = page.locator('#items li bdi').all_text_contents()
    check(f'several files are read in their order: {listed}', listed == [text for text in texts if text])
    visitor.shot('several')
    page.locator('#items button').nth(2).focus()
    page.keyboard.press('Enter')
    check('the session brings an answer back', visitor.answered() == texts[2])
    page.focus('#crop')
    page.keyboard.press('Enter')
    for key in ('ArrowRight', 'Shift+ArrowLeft', 'Shift+ArrowUp'):
        page.keyboard.press(key)
    page.wait_for_timeout(1500)
    visitor.answered()
    check('a part of the image is read', page.locator('#box').is_visible())
    visitor.shot('crop')
    sheet = np.full((600, 500, 3), 255, np.uint8)
    for top in range(60, 560, 50):
        cv2.putText(sheet, 'a whole sheet of text', (20, top), cv2.FONT_HERSHEY_SIMPLEX, 1.2, (0, 0, 0), 2)
    page.set_input_files('#file', files=[{'name': 'sheet.png', 'mimeType': 'image/png',
                                          'buffer': cv2.imencode('.png', sheet)[1].tobytes()}])
    visitor.answered()
    check(f'a sheet gets a hint: {page.text_content("#warning")}', page.locator('#warning').is_visible())
    visitor.shot('hint')
    page.select_option('#model', '*')
    page.wait_for_selector('#all .reader')
    check('all readers read it side by side', page.locator('#all .reader').count() == 2)
    visitor.shot('all')
    page.click('#offered button >> nth=1')
    page.wait_for_selector('#items li:nth-child(6)')
    visitor.sound()


def draw(browser, address, shots):
    """Strokes are read as they end; eraser, undo, redo and clear."""
    visitor = Visitor(browser, address, shots, viewport=WIDE)
    page = visitor.page
    sent = []
    page.on('request', lambda request: request.post_data and sent.append(request.post_data))
    page.focus('input[value=file]')
    page.keyboard.press('ArrowRight')
    check('the paper is reached by keyboard', page.locator('#canvas').is_visible())
    visitor.stroke([(0.2, 0.2), (0.2, 0.8), (0.4, 0.8)])
    first = page.evaluate(INK)
    check(f'a stroke is read at once: {visitor.answered()!r}', page.text_content('#percent').endswith('%'))
    visitor.stroke([(0.6, 0.3), (0.6, 0.7)])
    both = page.evaluate(INK)
    page.click('#eraser')
    visitor.stroke([(0.55, 0.5), (0.65, 0.5)])
    erased = page.evaluate(INK)
    page.click('#eraser')
    check(f'the pen draws and the eraser erases ({first}, {both}, {erased})', 0 < first < erased < both)
    for _ in range(2):
        page.keyboard.press('Control+z')
    check('strokes are taken back', page.evaluate(INK) == first)
    page.click('#redo')
    check('and brought again', page.evaluate(INK) == both)
    page.click('#clear')
    check('the paper is cleared', page.evaluate(INK) == 0)
    page.select_option('#model', 'formulas')
    for letter in ([(.15, .3), (.25, .7)], [(.25, .3), (.15, .7)], [(.4, .5), (.5, .5)],
                   [(.45, .4), (.45, .6)], [(.6, .3), (.6, .7)]):
        visitor.stroke(letter)
    page.wait_for_timeout(2000)
    visitor.answered()
    check('the points are sent, not pixels', '"strokes":[[[' in sent[-1] and sent[-1].count('[[') == 5)
    visitor.shot('drawn')
    visitor.sound()


def small(browser, address, shots, words, formulas):
    """The screen of a phone, light and dark."""
    for scheme in ('light', 'dark'):
        visitor = Visitor(browser, address, shots, viewport=NARROW, color_scheme=scheme, has_touch=True,
                          device_scale_factor=2)
        check('a phone may take a photo', visitor.page.locator('#photo').is_visible())
        visitor.page.select_option('#model', 'formulas')
        visitor.upload(samples(formulas)[0])
        visitor.answered()
        visitor.shot(f'narrow-{scheme}')
        visitor.page.click('text=Draw')
        visitor.stroke([(0.2, 0.2), (0.8, 0.8)])
        visitor.answered()
        visitor.shot(f'narrow-paper-{scheme}')
        visitor.sound()
    visitor = Visitor(browser, address, shots, viewport=WIDE, color_scheme='dark')
    visitor.upload(samples(words)[1])
    visitor.answered()
    visitor.shot('wide-dark')
    visitor.sound()


def guarded(browser, address, shots, words):
    """A server that wants a token."""
    visitor = Visitor(browser, address, shots, viewport=WIDE)
    visitor.page.wait_for_selector('#login', state='visible')
    visitor.shot('login')
    visitor.page.fill('#token', TOKEN)
    visitor.page.keyboard.press('Enter')
    visitor.page.wait_for_selector('#login', state='hidden')
    visitor.upload(samples(words)[1])
    visitor.answered()
    check('with the token the page reads', visitor.page.text_content('#percent').endswith('%'))
    visitor.sound(allowed=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('workdirs', nargs='*', type=lambda folder: Path(folder).resolve(),
                        metavar='WORDS FORMULAS')
    parser.add_argument('--shots', type=Path, default=Path('shots'), help='folder for pictures of the page')
    parser.add_argument('--chromium', default='/usr/bin/chromium')
    arguments = parser.parse_args()
    if not Path(arguments.chromium).exists():
        print(f'NOT RUN: the page was not tried, {arguments.chromium} is not there')
        return
    from playwright.sync_api import sync_playwright

    arguments.shots.mkdir(parents=True, exist_ok=True)
    shots = arguments.shots
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as play:
        words, formulas = arguments.workdirs or [hardly_trained(Path(folder), name)
                                                 for name in ('crnn', 'can')]
        browser = play.chromium.launch(executable_path=arguments.chromium, args=['--no-sandbox'])
        with served(f'words={words}', f'formulas={formulas}', '--explain', '--beam', 3) as address:
            upload_and_change(browser, address, shots, words, formulas, bool(arguments.workdirs))
            several(browser, address, shots, words)
            draw(browser, address, shots)
            small(browser, address, shots, words, formulas)
        with served(words, environment={'RECOG_TOKEN': TOKEN}) as address:
            guarded(browser, address, shots, words)
        browser.close()
    print(f'the page works; pictures in {shots}')


if __name__ == '__main__':
    main()
