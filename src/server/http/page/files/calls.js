// The calls that are up.

import { badge, h, span, setText, words } from './dom.js';
import * as api from './api.js';
import { endedCalls } from './ended.js';
import { table } from './table.js';

const SHOWN = 300;
const MOST = 1000;

/** Who calls, and who is called, as far as its legs say. */
export function parties(call) {
  const first = call.legs.find((leg) => leg.direction === 'inbound') || call.legs[0];
  if (!first) return ['', ''];
  const other = call.legs.find((leg) => leg !== first);
  // Nobody has called: it began here, and all of them were called.
  const called = (leg) => leg?.user || leg?.callee || '';
  if (first.direction !== 'inbound') return [called(first), called(other) || call.application || ''];
  return [first.caller || first.user || '', first.callee || other?.callee || other?.user || ''];
}

export function stateBadge(state) {
  const kinds = { bridged: 'good', answered: 'good', held: 'warn', failed: 'bad', idle: 'idle', destroyed: 'idle' };
  return badge(kinds[state] || 'note', words(state));
}

/** Its state; a bridge that is held is what people mean by a held call. */
export const stateOf = (call) => (call.bridge?.state === 'held' ? 'held' : call.state);

/** What stands beside a call's state. */
function notes(call) {
  const notes = [];
  if (call.legs.some((leg) => leg.holds)) notes.push('on hold');
  if (call.recording) notes.push(call.recording.paused ? 'recording paused' : 'recorded');
  return notes.join(', ');
}

const haystack = (call) =>
  [call.call, call.state, call.application, notes(call), ...parties(call),
    ...call.legs.flatMap((leg) => [leg.caller, leg.callee, leg.gateway, leg.user, leg.state]),
    ...Object.entries(call.variables).flat()].join(' ').toLowerCase();

export function callsView() {
  const list = table('Calls that are up, oldest first', ['call', 'from', 'to', 'state', 'since', 'talking', 'with', 'notes'],
    { open: (key) => { location.hash = `call/${key}`; }, empty: 'No call is up.' });
  const filter = h('input', {
    id: 'filter', type: 'search', placeholder: 'number, name, state, gateway …', 'aria-label': 'Filter calls',
    spellcheck: 'false', autocomplete: 'off', oninput: () => draw(),
  });
  const figure = h('p', { class: 'figure', role: 'status' });
  const ended = endedCalls();
  let seen = { calls: [], total: 0 };
  let at = Date.now();

  function draw() {
    const parts = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = seen.calls.filter((call) => {
      const text = parts.length ? haystack(call) : '';
      return parts.every((part) => text.includes(part));
    });
    const shown = found.slice(0, SHOWN);
    const later = (Date.now() - at) / 1000;
    list.update(shown.map((call) => {
      const [from, to] = parties(call);
      return {
        key: call.call,
        cells: [
          { text: String(call.call), href: `#call/${call.call}` }, from, to,
          { badge: () => stateBadge(stateOf(call)), sign: stateOf(call) },
          span(call.age_s + later), call.talking_s === null ? '–' : span(call.talking_s + later),
          call.application || call.legs.map((leg) => leg.gateway).find(Boolean) || '', notes(call),
        ],
      };
    }));
    const of = seen.calls.length < seen.total ? `, of the oldest ${seen.calls.length}` : '';
    setText(figure, shown.length === seen.total ? `${seen.total} up` : `${shown.length} shown${of}, ${seen.total} up`);
  }

  return {
    title: 'Calls',
    element: h('section', null,
      h('div', { class: 'bar' }, h('h2', null, 'Calls'), figure, h('label', { class: 'filter' }, filter)), list.element, ended.element),
    async refresh() {
      // Who looks for one of many wants all of them.
      const limit = filter.value ? MOST : SHOWN;
      seen = await api.get(`calls?limit=${limit}`);
      at = Date.now();
      draw();
      // What is up does not wait for what is over.
      ended.refresh();
    },
    tick: draw,
    gone: ended.gone,
    wants: (event) => event.call !== undefined && !['digit', 'quality', 'lookup'].includes(event.type),
    focus: list.focus,
    filter,
  };
}
