// Shows an answer: text or formula, confidence, the texts of the beam, where each character was read from.

import { setFormula } from './api.js';
import { $, copy, make, percent, show, written } from './dom.js';
import { Map } from './map.js';

const map = new Map($('seen'));
let shown = {};  // what is shown, with changes that were typed

// Whether it was `drawn` decides how what the model saw is shown.
export function tell(answer, model, drawn) {
  shown = { ...answer };
  $('warning').textContent = answer.hint || '';
  show('warning', answer.hint);
  const broken = model.formula && !answer.well_formed;
  form();
  const said = !answer.text ? 'Nothing was read here.' : broken ? 'This LaTeX is not well-formed.' : '';
  $('text').textContent = said || (model.formula ? '' : answer.text);
  $('text').className = said ? 'small' : '';
  $('latex').value = answer.latex || '';
  show('source', model.formula);
  show('wrong', false);
  $('confidence').value = answer.confidence ?? 0;
  $('percent').textContent = percent(answer.confidence);
  $('copies').replaceChildren(...copies(model));
  $('note').textContent = answer.note || '';
  show('note', answer.note);
  const others = answer.nbest || [];
  $('rows').replaceChildren(...others.map(row));
  show('others', others.length > 1);
  places(answer.places, model.ink || (drawn ? 'dark' : ''));
  show('answer', true);
}

function form() {
  show('formula', shown.svg);
  if (shown.svg) $('formula').src = shown.svg;
  $('formula').alt = shown.latex || shown.text;
  $('formula').className = 'set';
}

function copies(model) {
  const kinds = model.formula ? [['Copy LaTeX', () => shown.latex], ['$…$', () => `$${shown.latex}$`],
    ...(shown.mathml ? [['MathML', () => shown.mathml]] : [])] : [['Copy', () => shown.text]];
  return kinds.map(([name, text]) => {
    const button = make('button', { type: 'button', textContent: name, disabled: !shown.text });
    if (name !== 'Copy' && name !== 'Copy LaTeX') button.setAttribute('aria-label', `Copy as ${name}`);
    button.addEventListener('click', () => copy(text(), button));
    return button;
  });
}

function row({ text, latex, svg, confidence, score }) {
  const cells = [written({ text, latex, svg }), percent(confidence), score == null ? '–' : score.toFixed(2)]
    .map((inside) => make('td', {}, inside));
  cells[0].className = 'text';
  return make('tr', {}, ...cells);
}

// Says where the character that is chosen stands in the image; nothing, if none is.
const spot = (box) => document.dispatchEvent(new CustomEvent('spot', { detail: box }));

function places(found, ink) {
  spot(null);
  show('where', found && found.tokens.length);
  if (!found) return;
  map.take(found, ink);
  const buttons = found.tokens.map(({ text, confidence }) => {
    const bar = make('i');
    bar.style.setProperty('--share', confidence);
    const button = make('button', {
      type: 'button', tabIndex: -1, title: percent(confidence), className: confidence < 0.5 ? 'unsure' : '',
    }, make('span', { textContent: text === ' ' ? '␣' : text }), bar);
    button.setAttribute('aria-label', `${text === ' ' ? 'blank' : text}, ${percent(confidence)}`);
    return button;
  });
  buttons.forEach((button, number) => {
    const choose = () => {
      for (const each of buttons) each.setAttribute('aria-pressed', each === button);
      map.point(number);
      spot(found.tokens[number].box);
    };
    button.addEventListener('focus', choose);
    button.addEventListener('click', choose);
    button.addEventListener('pointerenter', choose);
  });
  if (buttons.length) buttons[0].tabIndex = 0;
  $('tokens').replaceChildren(...buttons);
}

// Arrows go along the characters; they are one stop of the Tab key.
$('tokens').addEventListener('keydown', (event) => {
  const buttons = [...$('tokens').children];
  const at = buttons.indexOf(document.activeElement);
  const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
  if (buttons[to]) {
    event.preventDefault();
    buttons.forEach((button) => { button.tabIndex = -1; });
    buttons[to].tabIndex = 0;
    buttons[to].focus();
  }
});

// A formula that is changed is set again.
let typed = 0;
$('latex').addEventListener('input', () => {
  const number = ++typed;
  setTimeout(async () => {
    if (number !== typed) return;
    const latex = $('latex').value;
    try {
      const set = await setFormula(latex);
      if (number !== typed || latex !== $('latex').value) return;
      shown = { text: latex, latex, svg: set.svg, mathml: set.mathml };
      $('wrong').textContent = set.well_formed ? '' : 'This LaTeX is not well-formed.';
      show('wrong', !set.well_formed);
      if (set.well_formed) $('text').textContent = '';
      if (set.svg) form();
      $('copies').replaceChildren(...copies({ formula: true }));
    } catch (error) {
      $('wrong').textContent = error.message;
      show('wrong', true);
    }
  }, 300);
});
