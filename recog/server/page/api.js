// Requests to the server, and addresses of images.

export class Unauthorised extends Error {}

// The JSON that the server answers; its refusals, and a server that does not answer, are errors in one line.
export async function ask(path, options = {}) {
  const token = sessionStorage.getItem('token');
  const headers = { ...options.headers, ...(token ? { authorization: `Bearer ${token}` } : {}) };
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch {
    throw new Error('The server cannot be reached.');
  }
  const said = await response.json()
    .catch(() => ({ error: `The server answered with status ${response.status}.` }));
  if (response.ok) return said;
  if (response.status === 401) throw new Unauthorised(token ? 'This token is wrong.' : '');
  throw new Error(said.error);
}

const path = (model) => `/v1/models/${encodeURIComponent(model.name)}`;

// What a model reads in an image (a blob) or a drawing (strokes).
export function readBy(model, source) {
  const query = new URLSearchParams({
    nbest: Math.max(model.beam, 1), draw: 1, places: model.explain ? 1 : 0,
  });
  const sent = source.strokes
    ? { body: JSON.stringify({ strokes: source.strokes }), headers: { 'content-type': 'application/json' } }
    : { body: source.blob };
  return ask(`${path(model)}/read?${query}`, { method: 'POST', ...sent });
}

export const examplesOf = async (model) => (await ask(`${path(model)}/examples`)).examples;

export const setFormula = (latex) => ask('/v1/formula', { method: 'POST', body: latex });

// A data: address as a blob, and as one that an image shows.
export function blobOf(address) {
  const [head, data] = address.split(',');
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  return new Blob([bytes], { type: head.slice(5, head.indexOf(';')) });
}
