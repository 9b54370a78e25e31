// The page: images and drawings are items of a session, read by the chosen reader, or by all of them.

import { ask, blobOf, examplesOf, readBy, Unauthorised } from './api.js';
import { Crop, cut, lay } from './crop.js';
import { $, make, show } from './dom.js';
import { Drawing } from './drawing.js';
import { add, clear, line, mark, present, say } from './session.js';

const ALL = '*';  // the choice of all readers; no model is called so
let models = [];
let current = null;  // the item that is shown
const of = { file: null, draw: null };  // the item of each way
const way = () => $('ways').elements.way.value;
const chosen = () => models.find((model) => model.name === $('model').value);
const asked = () => ($('model').value === ALL ? models : [chosen()].filter(Boolean));

function failed(error) {
  if (error instanceof Unauthorised) show('login', true);
  say('', error.message);
}

// What a reader reads, unless its name says it.
function kind(name, formula) {
  const words = formula ? 'formulas' : 'words';
  return name.includes(words) ? '' : ` – ${words}`;
}

async function list() {
  const before = $('model').value;
  const wasReady = asked().every((model) => model.ready);
  const found = (await ask('/v1/models')).models;
  const changed = JSON.stringify(found) !== JSON.stringify(models);
  models = found;
  if (changed) {  // replacing the options would close an open list
    const options = models.map(({ name, formula, ready }) => new Option(
      `${name}${kind(name, formula)}${ready ? '' : ' (warming up)'}`, name));
    if (models.length > 1) options.push(new Option('all of them, side by side', ALL));
    $('model').replaceChildren(...options);
    if (options.some((option) => option.value === before)) $('model').value = before;
    describe();
  }
  $('model').disabled = false;
  show('login', false);
  const unread = current && !current.answers && !current.error;
  if (current && (unread || !wasReady) && asked().every((model) => model.ready)) read(current);
  if (models.some((model) => !model.ready)) setTimeout(start, 1000);
}

function start() {
  list().catch(failed);
}

let offered = '';  // the reader whose examples are shown

async function describe() {
  const model = chosen() || models[0];
  if (!model) return;
  $('reads').textContent = chosen()
    ? `Reads ${model.reads}. Trained on ${model.trained_on.join(', ')}.`
    : 'Every reader reads the image; choose one to see more of its answer.';
  if (offered === model.name) return;
  offered = model.name;
  const found = await examplesOf(model).catch(() => []);
  if (offered !== model.name) return;
  show('examples', found.length);
  $('offered').replaceChildren(...found.map((address, number) => {
    const name = `example ${number + 1}`;
    const button = make('button', { type: 'button' }, make('img', { src: address, alt: name }));
    button.addEventListener('click', () => take([new File([blobOf(address)], name)]));
    return button;
  }));
}

// Reading

async function read(item) {
  const readers = asked();
  if (!readers.length) return;
  const number = item.number = (item.number || 0) + 1;
  item.error = '';
  if (item === current && !item.strokes) clear('Reading …');
  try {
    const source = item.part ? { blob: await cut(item.blob, item.part) } : item;
    const answers = await Promise.all(readers.map((model) => readBy(model, source)
      .then((answer) => ({ model, answer }), (error) => ({ model, error }))));
    if (item.number !== number) return;
    if (answers.length === 1 && answers[0].error) throw answers[0].error;
    item.answers = answers;
  } catch (error) {
    if (item.number !== number) return;
    Object.assign(item, { answers: null, error: error.message });
    if (error instanceof Unauthorised) show('login', true);
  }
  line(item);
  if (item === current) present(item, pick);
}

function pick(model) {
  $('model').value = model.name;
  $('model').dispatchEvent(new Event('change'));
  $('model').focus();
}

function choose(item, again = true) {
  current = item;
  mark(item);
  of[item.strokes ? 'draw' : 'file'] = item;
  $('ways').elements.way.value = item.strokes ? 'draw' : 'file';
  turn(false);
  if (!item.strokes) preview(item);
  else if (item !== open) {
    paper.past.push(paper.strokes);
    paper.strokes = item.strokes;
    open = item;
    paper.redraw();
    buttons();
  }
  if (again) present(item, pick);
}

function turn(anew = true) {
  show('file-way', way() === 'file');
  show('draw-way', way() === 'draw');
  if (way() === 'draw') paper.resize();
  if (!anew) return;
  current = of[way()];
  if (current) choose(current);
  else clear('Waiting for an image.');
}

// Files

async function take(files) {
  const news = [...files].map((file) => ({ name: file.name, blob: file, url: URL.createObjectURL(file) }));
  if (!news.length) return;
  add(news, choose);
  choose(news[0]);
  for (const item of news) await read(item);
}

function preview(item) {
  $('preview').src = item.url;
  $('hint').textContent = 'Drop others here, paste one, or';
  crop.turn(Boolean(item.part), item.part);
  $('crop').setAttribute('aria-pressed', crop.on);
}

const crop = new Crop($('stage'), $('preview'), $('box'), () => {
  const item = of.file;
  if (!crop.on || !item) return;
  item.part = crop.part;
  read(item);
});

// The box of a character, in pixels of the part that was read, on the image.
document.addEventListener('spot', ({ detail: box }) => {
  const image = $('preview');
  const there = Boolean(box) && way() === 'file' && image.naturalWidth > 0;
  show('spot', there);
  if (!there) return;
  const [left, top] = (of.file && of.file.part) || [0, 0];
  const shares = [box[0] / image.naturalWidth + left, box[1] / image.naturalHeight + top,
    box[2] / image.naturalWidth + left, box[3] / image.naturalHeight + top];
  lay($('spot'), image, shares);
});

$('crop').addEventListener('click', () => {
  const item = of.file;
  crop.turn(!crop.on);
  $('crop').setAttribute('aria-pressed', crop.on);
  item.part = crop.part;
  if (crop.on) $('box').focus();
  read(item);
});
$('choose').addEventListener('click', () => $('file').click());
show('photo', navigator.maxTouchPoints > 0);
$('photo').addEventListener('click', () => $('camera').click());
for (const id of ['file', 'camera']) {
  $(id).addEventListener('change', () => { take($(id).files); $(id).value = ''; });
}
for (const [event, there] of [['load', true], ['error', false]]) {
  $('preview').addEventListener(event, () => {
    show('stage', there);
    show('crop', there);
    // Small images are enlarged, so that they can be seen and cropped.
    const { naturalWidth: width, naturalHeight: height } = $('preview');
    $('preview').style.width = `${Math.round(width * Math.min(288 / height, 480 / width, 3))}px`;
    crop.lay();
  });
}
addEventListener('resize', () => crop.lay());
addEventListener('paste', (event) => take(event.clipboardData.files));
addEventListener('dragover', (event) => { event.preventDefault(); $('drop').classList.add('over'); });
addEventListener('dragleave', (event) => event.relatedTarget || $('drop').classList.remove('over'));
addEventListener('drop', (event) => {
  event.preventDefault();
  $('drop').classList.remove('over');
  take(event.dataTransfer.files);
});

// Drawing: all that is drawn until the paper is cleared is one item.

let open = null;
const paper = new Drawing($('canvas'), () => {
  buttons();
  if (!paper.strokes.length) {
    open = of.draw = current = null;
    return clear('Waiting for a drawing.');
  }
  if (!open) {
    open = { name: 'drawing', strokes: paper.strokes, url: paper.picture() };
    add([open], choose);
  }
  Object.assign(open, { strokes: paper.strokes, url: paper.picture() });
  if (current !== open) choose(open, false);
  return read(open);
});

function buttons() {
  $('undo').disabled = !paper.past.length;
  $('redo').disabled = !paper.future.length;
  $('clear').disabled = !paper.strokes.length;
}

$('eraser').addEventListener('click', () => {
  paper.erasing = !paper.erasing;
  $('eraser').setAttribute('aria-pressed', paper.erasing);
});
$('undo').addEventListener('click', () => paper.undo());
$('redo').addEventListener('click', () => paper.redo());
$('clear').addEventListener('click', () => paper.clear());
addEventListener('keydown', (event) => {
  if (!(event.ctrlKey || event.metaKey) || $('draw-way').hidden || event.target === $('latex')) return;
  const key = event.key.toLowerCase();
  if (key === 'y' || (key === 'z' && event.shiftKey)) paper.redo();
  else if (key === 'z') paper.undo();
});

// Readers and the token

$('ways').addEventListener('change', () => turn());
$('model').addEventListener('change', () => {
  describe();
  if (current) read(current);
});
$('login').addEventListener('submit', (event) => {
  event.preventDefault();
  sessionStorage.setItem('token', $('token').value);
  $('token').value = '';
  say('Waiting for an image.');
  start();
});

start();
