// Requests, with the token where one is needed; it is kept for this tab only.

import { byId, setText } from './dom.js';

const PLACE = 'b2b.token';
let kept = null;
let asking = null;

function token() {
  try { return sessionStorage.getItem(PLACE) ?? kept; } catch { return kept; }
}

function keep(text) {
  kept = text;
  try { sessionStorage.setItem(PLACE, text); } catch { /* it is kept until the page is loaded again */ }
}

/** Asks for a token; many may want one at once, and one answer is for all. */
function ask(why) {
  asking ??= new Promise((done) => {
    const dialog = byId('token');
    if (why) setText(byId('token-why'), why);
    dialog.showModal();
    dialog.addEventListener('cancel', (event) => event.preventDefault());
    dialog.addEventListener('close', () => {
      keep(byId('token-text').value);
      byId('token-text').value = '';
      asking = null;
      done();
    }, { once: true });
  });
  return asking;
}

export class Refused extends Error {
  constructor(status, error, fix) {
    super(fix ? `${error}: ${fix}` : error);
    this.status = status;
  }
}

async function request(method, path, body, patience = AbortSignal.timeout(15000)) {
  for (;;) {
    const used = token();
    const headers = {};
    if (used) headers.Authorization = `Bearer ${used}`;
    if (body !== undefined) headers['Content-Type'] = 'application/json';
    const answer = await fetch(path, {
      method, headers, cache: 'no-store', body: body === undefined ? undefined : JSON.stringify(body),
      signal: patience,
    });
    if (answer.status === 401) {
      await (token() === used ? ask(used && 'The token was not accepted. Try again.') : undefined);
      continue;
    }
    if (!answer.ok) {
      const said = await answer.json().catch(() => ({}));
      throw new Refused(answer.status, said.error || `the server said ${answer.status}`, said.fix);
    }
    return answer;
  }
}

/** JSON at a path; `missing` instead where the server has nothing there. */
export async function get(path, missing) {
  try {
    return await (await request('GET', path)).json();
  } catch (error) {
    if (error instanceof Refused && error.status === 404 && missing !== undefined) return missing;
    throw error;
  }
}

export const text = async (path) => (await request('GET', path)).text();

export async function act(method, path, body) {
  const answer = await request(method, path, body);
  const said = await answer.text();
  return said && (answer.headers.get('content-type') || '').includes('json') ? JSON.parse(said) : null;
}

/** A URL of what is at a path, for elements that cannot send the token; who takes it gives it back. */
// However long it takes: a recording of an hour is 100 MB.
export const blobUrl = async (path) => URL.createObjectURL(await (await request('GET', path, undefined, null)).blob());

/** A file, saved under this name. */
export async function save(path, name) {
  const link = document.createElement('a');
  link.href = await blobUrl(path);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

/** A browser's WebSocket has no header fields of ours: the token goes as a subprotocol. */
export function socket(path) {
  const url = new URL(path, document.baseURI);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  const protocols = ['b2b.events'];
  const used = token();
  if (used) {
    const octets = String.fromCharCode(...new TextEncoder().encode(used));
    protocols.push(`bearer.${btoa(octets).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')}`);
  }
  return new WebSocket(url, protocols);
}
