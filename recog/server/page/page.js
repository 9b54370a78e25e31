// Sends one image at a time, from a file, the clipboard or the drawing, and shows what the chosen model reads.

import { Drawing } from './drawing.js';

const $ = (id) => document.getElementById(id);
const drawing = new Drawing($('canvas'));
let models = [];
const given = { file: null, draw: null };  // the image from a file, and the drawn one
let asked = 0;     // number of the last request; answers to earlier ones are dropped

async function ask(path, options = {}) {
  const token = sessionStorage.getItem('token');
  let response;
  try {
    response = await fetch(path, { ...options, headers: token ? { authorization: `Bearer ${token}` } : {} });
  } catch {
    throw new Error('The server cannot be reached.');
  }
  const said = await response.json().catch(() => ({ error: `The server answered with status ${response.status}.` }));
  if (response.ok) return said;
  if (response.status === 401) {
    show('login', true);
    throw new Error(token ? 'This token is wrong.' : '');
  }
  throw new Error(said.error);
}

function show(id, visible) {
  $(id).hidden = !visible;
}

function say(words, error = '') {
  $('status').textContent = words;
  show('status', words);
  $('error').textContent = error;
  show('error', error);
}

const way = () => $('ways').elements.way.value;
const chosen = () => models.find((model) => model.name === $('model').value);

async function list() {
  const before = chosen();
  const found = (await ask('/v1/models')).models;
  const changed = JSON.stringify(found) !== JSON.stringify(models);
  models = found;
  if (changed) {  // replacing the options would close an open list
    $('model').replaceChildren(...models.map(({ name, formula, ready }) => {
      const option = new Option(`${name} – ${formula ? 'formulas' : 'words'}${ready ? '' : ' (warming up)'}`, name);
      option.selected = before && name === before.name;
      return option;
    }));
  }
  $('model').disabled = false;
  show('login', false);
  if (before && !before.ready && chosen().ready && given[way()]) read();
  if (models.some((model) => !model.ready)) setTimeout(start, 1000);
}

function start() {
  list().catch((error) => say('', error.message));
}

async function read(explain = false) {
  const [model, image, question] = [chosen(), given[way()], ++asked];
  if (!explain) show('answer', false);
  if (!image || !model) {
    say('Waiting for an image.');
    return;
  }
  say(explain ? 'Drawing …' : 'Reading …');
  const query = new URLSearchParams({ nbest: Math.max(model.beam, 1), draw: 1, explain: explain ? 1 : 0 });
  try {
    const answer = await ask(`/v1/models/${encodeURIComponent(model.name)}/read?${query}`, { method: 'POST', body: image });
    if (question === asked) tell(answer, model);
  } catch (error) {
    if (question === asked) say('', error.message);
  }
}

function tell(answer, model) {
  say(answer.text ? '' : 'The model reads nothing in this image.');
  show('formula', answer.svg);
  if (answer.svg) $('formula').src = answer.svg;
  $('formula').alt = answer.text;
  const broken = model.formula && !answer.well_formed;
  $('text').textContent = model.formula ? (broken && answer.text ? 'This LaTeX is not well-formed.' : '') : answer.text;
  $('text').className = model.formula ? 'small' : '';
  $('latex').textContent = answer.text;
  show('source', model.formula && answer.text);
  $('confidence').value = answer.confidence;
  $('percent').textContent = percent(answer.confidence);
  $('note').textContent = answer.note || '';
  show('note', answer.note);
  const others = answer.nbest || [];
  $('rows').replaceChildren(...others.map(row));
  show('others', others.length > 1);
  show('explain', model.explain && !answer.explanation);
  show('enlarge', answer.explanation);
  if (answer.explanation) picture(answer.explanation);
  show('answer', true);
  if (answer.explanation) $('enlarge').focus();
}

// Browsers do not open data: addresses in a new tab, so it becomes a blob.
function picture(data) {
  URL.revokeObjectURL($('enlarge').href);
  const bytes = Uint8Array.from(atob(data.split(',')[1]), (letter) => letter.charCodeAt(0));
  $('explanation').src = $('enlarge').href = URL.createObjectURL(new Blob([bytes], { type: 'image/png' }));
}

const percent = (share) => `${(100 * share).toFixed(1)} %`;

function row({ text, confidence, score, svg }) {
  const cells = [text, percent(confidence), score.toFixed(2)].map((words) => {
    const cell = document.createElement('td');
    cell.textContent = words;
    return cell;
  });
  if (svg) {
    const drawn = new Image();
    drawn.src = svg;
    drawn.alt = cells[0].title = text;
    cells[0].replaceChildren(drawn);
  }
  const line = document.createElement('tr');
  line.append(...cells);
  return line;
}

function take(files) {
  const file = [...files][0];
  if (!file) return;
  given.file = file;
  $('ways').elements.way.value = 'file';
  turn();
  URL.revokeObjectURL($('preview').src);
  $('preview').src = URL.createObjectURL(file);
  $('hint').textContent = 'Drop another one here, paste it, or';
}

function turn() {
  show('file-way', way() === 'file');
  show('draw-way', way() === 'draw');
  read();
}

async function copy() {
  const words = $('latex').textContent;
  try {
    await navigator.clipboard.writeText(words);
  } catch {  // without https, scripts cannot use the clipboard
    const field = document.createElement('textarea');
    field.value = words;
    document.body.append(field);
    field.select();
    document.execCommand('copy');
    field.remove();
    $('copy').focus();
  }
  $('copy').textContent = 'Copied';
  setTimeout(() => { $('copy').textContent = 'Copy'; }, 1500);
}

function undo() {
  drawing.undo();
}

$('ways').addEventListener('change', turn);
$('model').addEventListener('change', () => read());
$('choose').addEventListener('click', () => $('file').click());
$('file').addEventListener('change', () => { take($('file').files); $('file').value = ''; });
$('preview').addEventListener('load', () => show('preview', true));
$('preview').addEventListener('error', () => show('preview', false));
addEventListener('paste', (event) => take(event.clipboardData.files));
addEventListener('dragover', (event) => { event.preventDefault(); $('drop').classList.add('over'); });
addEventListener('dragleave', (event) => event.relatedTarget || $('drop').classList.remove('over'));
addEventListener('drop', (event) => {
  event.preventDefault();
  $('drop').classList.remove('over');
  take(event.dataTransfer.files);
});
$('pen').addEventListener('input', () => { drawing.width = Number($('pen').value); });
$('eraser').addEventListener('click', () => {
  drawing.erasing = !drawing.erasing;
  $('eraser').setAttribute('aria-pressed', drawing.erasing);
});
$('undo').addEventListener('click', undo);
addEventListener('keydown', (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key === 'z' && !$('draw-way').hidden) undo();
});
$('clear').addEventListener('click', () => drawing.clear());
$('read').addEventListener('click', async () => {
  given.draw = await drawing.image();
  read();
  if (!given.draw) say('', 'The paper is empty: draw something first.');
});
$('explain').addEventListener('click', () => read(true));
$('copy').addEventListener('click', copy);
$('login').addEventListener('submit', (event) => {
  event.preventDefault();
  sessionStorage.setItem('token', $('token').value);
  $('token').value = '';
  say('Waiting for an image.');
  start();
});

start();
