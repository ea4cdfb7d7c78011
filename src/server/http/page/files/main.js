// Selects the view, reads it again when it is due, and handles the keyboard.

import { badge, byId, count, h, say, setText } from './dom.js';
import * as api from './api.js';
import { begin, everyMs, linkWords, live, on } from './live.js';
import { alarms, alarmsView, read as readAlarms } from './alarms.js';
import { callView } from './call.js';
import { callsView } from './calls.js';
import { agentsView, gatewaysView, parkingView, queuesView, registrationsView, roomsView } from './lists.js';
import { readNames } from './names.js';
import { routesView } from './routes.js';
import { serverView } from './server.js';

const VIEWS = [
  ['calls', 'Calls', callsView], ['queues', 'Queues', queuesView], ['rooms', 'Rooms', roomsView], ['parking', 'Parking', parkingView],
  ['agents', 'Agents', agentsView], ['registrations', 'Registrations', registrationsView], ['gateways', 'Gateways', gatewaysView],
  ['alarms', 'Alarms', alarmsView], ['server', 'Server', serverView],
  ['routes', 'Routes', routesView],
];
/** Minimum time between two reads, however many events arrive. */
const LEAST_MS = 600;

const made = new Map();
let view = null;
let reading = false;
let due = 0;
/** Events cause no read before this time. */
let rested = 0;
let timer;

// ---- views

function route() {
  const [name, id] = decodeURIComponent(location.hash.slice(1)).split('/');
  if (name === 'call' && /^\d+$/.test(id ?? '')) return { name: 'calls', key: `call/${id}`, make: () => callView(id) };
  const [known, , make] = VIEWS.find(([it]) => it === name) || VIEWS[0];
  return { name: known, key: known, make };
}

function show() {
  const { name, key, make } = route();
  view?.gone?.();
  // A call's view is created each time; the other views are kept.
  if (!made.has(key) || key.startsWith('call/')) made.set(key, make());
  view = made.get(key);
  if (key.startsWith('call/')) made.delete(key);
  byId('main').replaceChildren(view.element);
  view.shown?.();
  for (const link of byId('nav').children) {
    if (link.dataset.view === name) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  title();
  soon(0);
}

function title() {
  const many = alarms.list.length;
  document.title = `${many ? `(${many}!) ` : ''}${view.title} · b2b`;
}

function soon(ms) {
  const at = Date.now() + ms;
  if (timer && at >= due) return;
  clearTimeout(timer);
  due = at;
  timer = setTimeout(refresh, ms);
}

async function refresh() {
  timer = undefined;
  if (reading) return soon(LEAST_MS);
  reading = true;
  const shown = view;
  const begun = Date.now();
  try {
    await readNames();
    await shown.refresh();
    document.body.classList.remove('old');
  } catch (error) {
    // The old data stays, marked as old.
    document.body.classList.add('old');
    if (error instanceof api.Refused) say(error.message, true);
  }
  reading = false;
  // A slow response means a busy server: wait longer.
  const rest = Math.max(LEAST_MS, 4 * (Date.now() - begun));
  rested = Date.now() + rest;
  soon(shown === view ? Math.max(Math.min(shown.everyMs ?? everyMs(), everyMs()), rest) : 0);
}

async function watchAlarms() {
  try {
    await readAlarms();
    const found = alarms.list;
    const [many, kind] = [found.length, found.some((it) => it.severity === 'critical') ? 'bad' : 'warn'];
    const link = byId('nav').querySelector('[data-view=alarms]');
    link.replaceChildren('Alarms', ...(many ? [' ', badge(kind, count(many))] : []));
    title();
  } catch { /* the link shows that the server does not answer */ }
}

// ---- keyboard

const KEYS = [
  ['?', 'this list'], ['1 – 9, 0', VIEWS.map(([, name]) => name).join(', ')], ['/', 'filter calls'], ['n', 'start a call'],
  ['j k, ↓ ↑', 'next and previous row of a table'], ['g', 'to the table of a view'], ['Enter', 'open the call of a row'], ['Esc', 'back to all calls'],
  ['c', 'in a call: start or stop a capture'], ['e', 'in a call: start or stop a recording'], ['x', 'in a call: hang up, with confirmation'],
  ['r', 'reload'], ['t', 'colours: automatic, dark, light'],
];

function help() {
  byId('help-list').replaceChildren(...KEYS.flatMap(([key, what]) => [h('dt', null, h('kbd', null, key)), h('dd', null, what)]));
  byId('help').showModal();
}

function pressed(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || document.querySelector('dialog[open]')) return;
  const typing = event.target.matches('input, textarea, select');
  if (event.key === 'Escape') {
    if (typing) event.target.blur();
    else if (view.parent) location.hash = view.parent;
    return;
  }
  if (typing) return;
  // On a keyboard 0 follows 9: the tenth view.
  const number = /^[0-9]$/.test(event.key) ? Number(event.key) || 10 : 0;
  const acts = {
    '?': help,
    '/': () => {
      if (!view.filter) location.hash = 'calls';
      setTimeout(() => made.get('calls').filter.focus());
    },
    r: () => soon(0),
    t: theme,
    g: () => view.focus?.(),
    j: () => view.focus?.(),
    ...view.keys,
  };
  if (number >= 1 && number <= VIEWS.length) location.hash = VIEWS[number - 1][0];
  else if (event.defaultPrevented || !(event.key in acts)) return;
  else acts[event.key]();
  event.preventDefault();
}

// ---- colours

function showTheme() {
  const wish = document.documentElement.dataset.theme || 'auto';
  byId('theme').setAttribute('aria-label', `Colours: ${wish}`);
  setText(byId('theme').querySelector('span'), wish);
}

function theme() {
  const root = document.documentElement;
  const next = { undefined: 'dark', dark: 'light', light: undefined }[root.dataset.theme];
  if (next) root.dataset.theme = next;
  else delete root.dataset.theme;
  try { localStorage.setItem('b2b.theme', next ?? 'auto'); } catch { /* for this page only */ }
  showTheme();
}

// ---- begin

function showLink() {
  const [mark, text] = linkWords();
  const link = byId('link');
  link.dataset.link = live.state;
  link.replaceChildren(h('span', { 'aria-hidden': 'true' }, mark), ` ${text}`);
  document.body.classList.toggle('old', live.state === 'off');
}

byId('nav').replaceChildren(...VIEWS.map(([name, text], at) =>
  h('a', { href: `#${name}`, 'data-view': name, 'aria-keyshortcuts': String((at + 1) % 10) }, text)));
byId('skip').addEventListener('click', () => byId('main').focus());
byId('theme').addEventListener('click', theme);
byId('keys').addEventListener('click', help);
document.addEventListener('keydown', pressed);
window.addEventListener('hashchange', show);
on('state', () => {
  showLink();
  soon(0);
});
on('stale', () => soon(0));
on('event', (event) => {
  if (view.wants?.(event)) soon(Math.max(LEAST_MS / 2, rested - Date.now()));
});
setInterval(() => view.tick?.(), 1000);
setInterval(watchAlarms, 10000);
showTheme();
show();
// The first request asks for the token if the server requires one; later requests have it.
api.get('calls?limit=1').catch(() => null).then(() => {
  begin();
  watchAlarms();
});
