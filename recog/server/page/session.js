// The list of all that was read in this session, the newest first, and the answers to the chosen item.

import { tell } from './answer.js';
import { $, make, percent, show, written } from './dom.js';

let items = [];  // { name, blob or strokes, url, part, answers, error, line }

export function say(words, error = '') {
  $('status').textContent = words;
  show('status', words);
  $('error').textContent = error;
  show('error', error);
}

export function clear(words) {
  show('answer', false);
  show('all', false);
  show('spot', false);
  say(words);
}

// Puts new items before the others, in their order; `choose` is called with one that is clicked.
export function add(news, choose) {
  items = [...news, ...items];
  $('items').prepend(...news.map((item) => {
    const button = make('button', { type: 'button' });
    button.addEventListener('click', () => choose(item));
    item.line = make('li', {}, button);
    line(item);
    return item.line;
  }));
  show('session', true);
}

export function mark(current) {
  for (const item of items) item.line.firstChild.setAttribute('aria-current', item === current);
}

const faint = (words) => make('span', { className: 'who' }, words);
const bad = (words) => make('span', { className: 'bad' }, words);
const text = (answer) => (answer.text ? written(answer) : faint('nothing'));

// Writes the line of an item anew.
export function line(item) {
  const read = (item.answers || []).filter(({ answer }) => answer);
  const by = item.answers?.length > 1 ? `${item.answers.length} readers`
    : read.length ? `${read[0].model.name}, ${percent(read[0].answer.confidence)}` : '';
  const said = item.error ? bad(item.error) : read.length ? text(read[0].answer) : faint('waiting …');
  const className = item.strokes ? 'thumb set' : 'thumb';
  item.line.firstChild.replaceChildren(make('img', { src: item.url, alt: item.name, className }), said, faint(by));
}

// Shows the answers to an item; `pick` is called with a reader that is chosen among several.
export function present(item, pick) {
  clear(item.error || item.answers ? '' : 'Reading …');
  if (item.error) return say('', item.error);
  if (!item.answers) return undefined;
  if (item.answers.length === 1) return tell(item.answers[0].answer, item.answers[0].model, item.strokes);
  $('all').replaceChildren(...item.answers.map(({ model, answer, error }) => {
    const button = make('button', { type: 'button', className: 'reader', title: `Choose ${model.name}` },
      faint(model.name), error ? bad(error.message) : text(answer),
      make('span', {}, error ? '' : percent(answer.confidence)));
    button.addEventListener('click', () => pick(model));
    return button;
  }));
  return show('all', true);
}
