// Short ways to find, make, show and fill elements.

export const $ = (id) => document.getElementById(id);

export function show(id, visible) {
  $(id).hidden = !visible;
}

// An element with properties and children, which may be texts.
export function make(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// Some models do not know how sure they are.
export const percent = (share) => (share == null ? '–' : `${(100 * share).toFixed(1)} %`);

// A set formula, or the text where there is none.
export function written({ text, svg, latex }) {
  return svg ? make('img', { src: svg, alt: latex || text, title: latex || text, className: 'set' })
    : make('bdi', {}, latex ?? text);
}

// Copies a text; without https, scripts cannot use the clipboard, but may select.
export async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const field = make('textarea', { value: text });
    document.body.append(field);
    field.select();
    document.execCommand('copy');
    field.remove();
    button.focus();
  }
  const label = button.dataset.label ??= button.textContent;
  button.textContent = 'Copied';
  setTimeout(() => { button.textContent = label; }, 1500);
}
