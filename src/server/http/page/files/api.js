// HTTP requests, with a token if the server requires one. The token is stored for this tab only.

import { byId, setText } from './dom.js';

const PLACE = 'b2b.token';
let kept = null;
let asking = null;

function token() {
  try { return sessionStorage.getItem(PLACE) ?? kept; } catch { return kept; }
}

function keep(text) {
  kept = text;
  try { sessionStorage.setItem(PLACE, text); } catch { /* no storage: the token lasts until a reload */ }
}

/** Asks the user for a token. Concurrent requests share one dialog and its answer. */
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

/** The JSON at a path; `missing`, if given, on 404. */
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

/** A blob URL of a path's content, for elements that cannot send the token. The caller revokes it. */
// No timeout: a recording of an hour is 100 MB.
export const blobUrl = async (path) => URL.createObjectURL(await (await request('GET', path, undefined, null)).blob());

/** Saves the content of a path as a file of this name. */
export async function save(path, name) {
  const link = document.createElement('a');
  link.href = await blobUrl(path);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

/** Browsers cannot set header fields of a WebSocket: the token is sent as a subprotocol. */
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
