"""Drives the page of `recog serve` in headless Chromium: upload, draw, change of model, bad file,
narrow and dark screen.

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
  return data.filter((level, place) => place % 4 == 0 && level < 128).length;
}"""
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
        return self.page.text_content('#latex')

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
           'data.threads=0', 'checkpoint.every=2 steps', 'log.tensorboard=False')
    recipe = f'{ROOT}/experiments/{name}.py:demo'
    subprocess.run([sys.executable, '-m', 'recog', 'train', '--config', recipe, '--workdir',
                    str(folder / name),
                    *(f'--config.{field}' for field in few)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return folder / name


def samples(folder):
    """The sample images of a workdir."""
    return sorted((folder / 'samples').glob('*.png'))


def upload_and_change(browser, address, shots, words, formulas):
    """Files, models, n-best, explanations, copying and what is no image."""
    import recog
    from recog.metrics.formulas import formula_tokens, well_formed

    visitor = Visitor(browser, address, shots, viewport=WIDE,
                      permissions=['clipboard-read', 'clipboard-write'])
    page = visitor.page
    image = samples(words)[1]
    visitor.upload(image)
    read, best = visitor.answered(), recog.load(words, beam=3, best=3)(image)
    check(f'an uploaded word is read: {read!r}', read == best.text)
    listed = page.locator('#rows tr td:first-child').all_text_contents()
    check(f'the texts of the beam are listed: {listed}', listed == [text for text, *_ in best.others])
    visitor.shot('wide')
    for kind, other in (('paste', samples(words)[2]), ('drop', samples(words)[3])):
        page.evaluate(BRING, [kind, base64.b64encode(other.read_bytes()).decode()])
        check(f'the same by {kind}', visitor.answered() == recog.load(words, beam=3)(other).text)
    visitor.upload(image)
    visitor.answered()
    page.click('#explain')
    page.wait_for_selector('#explanation', state='visible')
    check('the explanation is drawn',
          page.evaluate("document.getElementById('explanation').naturalWidth > 500"))
    visitor.shot('explained')
    page.click('#copy')
    check('the text is copied', page.evaluate('navigator.clipboard.readText()') == read)
    formula = samples(formulas)[2]
    other, expected = (answer.text for answer in recog.load(formulas, beam=3)([image, formula]))
    page.select_option('#model', 'formulas')
    check('another model reads the same image', visitor.answered() == other)
    visitor.upload(formula)
    text, drawn = visitor.answered(), page.locator('#formula').is_visible()
    check(f'an uploaded formula is read: {text}', text == expected)
    check(f'it is drawn if it is well-formed: {drawn}', drawn == well_formed(formula_tokens(text)))
    visitor.shot('formula')
    page.set_input_files('#file', files=[{'name': 'letter.png', 'mimeType': 'image/png',
                                          'buffer': b'Dear reader'}])
    page.wait_for_selector('#error', state='visible')
    check(f'what is no image is refused: {page.text_content("#error")}',
          not page.locator('#answer').is_visible())
    visitor.shot('refused')
    visitor.sound(allowed=1)


def draw(browser, address, shots):
    """Pen, eraser, undo and clear; by keyboard where there is nothing to draw."""
    visitor = Visitor(browser, address, shots, viewport=WIDE)
    page = visitor.page
    page.focus('input[value=file]')
    page.keyboard.press('ArrowRight')
    check('the paper is reached by keyboard', page.locator('#canvas').is_visible())
    page.click('#read')
    check('empty paper is refused', 'empty' in page.text_content('#error'))
    visitor.stroke([(0.2, 0.2), (0.2, 0.8), (0.4, 0.8)])
    thin = page.evaluate(INK)
    page.fill('#pen', '20')
    visitor.stroke([(0.6, 0.3), (0.6, 0.7)])
    both = page.evaluate(INK)
    page.click('#eraser')
    visitor.stroke([(0.6, 0.25), (0.6, 0.75)])
    erased = page.evaluate(INK)
    page.click('#eraser')
    check(f'the pen draws, wide and thin, and the eraser erases ({thin}, {both}, {erased})',
          0 < thin < both and erased < both)
    page.click('#undo')
    page.keyboard.press('Control+z')
    check('strokes are taken back', page.evaluate(INK) == thin)
    page.click('#clear')
    check('the paper is cleared', page.evaluate(INK) == 0)
    page.fill('#pen', '12')
    for letter in ([(.15, .2), (.15, .8), (.27, .8)], [(.4, .25), (.34, .5), (.4, .78), (.47, .5), (.4, .25)],
                   [(.55, .2), (.55, .8), (.67, .8)]):
        visitor.stroke(letter)
    page.click('#read')
    check(f'the drawing is read: {visitor.answered()!r}', page.text_content('#percent').endswith('%'))
    visitor.shot('drawn')
    visitor.sound()


def small(browser, address, shots, words, formulas):
    """The screen of a phone, light and dark."""
    for scheme in ('light', 'dark'):
        visitor = Visitor(browser, address, shots, viewport=NARROW, color_scheme=scheme, has_touch=True,
                          device_scale_factor=2)
        visitor.page.select_option('#model', 'formulas')
        visitor.upload(samples(formulas)[0])
        visitor.answered()
        visitor.shot(f'narrow-{scheme}')
        visitor.page.click('text=Draw')
        visitor.stroke([(0.2, 0.2), (0.8, 0.8)])
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
            upload_and_change(browser, address, shots, words, formulas)
            draw(browser, address, shots)
            small(browser, address, shots, words, formulas)
        with served(words, environment={'RECOG_TOKEN': TOKEN}) as address:
            guarded(browser, address, shots, words)
        browser.close()
    print(f'the page works; pictures in {shots}')


if __name__ == '__main__':
    main()
