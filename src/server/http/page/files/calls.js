// The active calls.

import { badge, h, span, setText, words } from './dom.js';
import * as api from './api.js';
import { beginCall } from './begin.js';
import { POOR_MOS, endedCalls } from './ended.js';
import { numberOf, withName } from './names.js';
import { table } from './table.js';

const SHOWN = 300;
const MOST = 1000;

/** Caller and callee, as far as the legs show: the connected user, with the number that was dialled. */
export function parties(call) {
  const first = call.legs.find((leg) => leg.direction === 'inbound') || call.legs[0];
  if (!first) return ['', ''];
  const joined = call.bridge ? [call.bridge.a, call.bridge.b] : [];
  const others = call.legs.filter((leg) => leg !== first);
  const other = others.find((leg) => joined.includes(leg.leg)) || others[0];
  // No inbound leg: the server placed this call, so every party is a callee.
  const called = (leg) => leg?.user || numberOf(leg?.callee);
  if (first.direction !== 'inbound') return [withName(called(first), first.user), withName(called(other) || call.application || '', other?.user)];
  const dialled = first.callee || called(other);
  const connected = joined.includes(other?.leg) ? other.user : null;
  return [withName(first.caller || first.user || '', first.user),
    connected && connected !== dialled ? withName(connected, connected, dialled) : withName(dialled, connected)];
}

export function stateBadge(state) {
  const kinds = { bridged: 'good', answered: 'good', held: 'warn', failed: 'bad', idle: 'idle', destroyed: 'idle' };
  return badge(kinds[state] || 'note', words(state));
}

/** The call's state; `held` if its bridge is held. */
export const stateOf = (call) => (call.bridge?.state === 'held' ? 'held' : call.state);

/** Remarks beside a call's state. */
function notes(call) {
  const notes = [];
  if (call.legs.some((leg) => leg.holds)) notes.push('on hold');
  if (call.recording) notes.push(call.recording.paused ? 'recording paused' : 'recorded');
  return notes.join(', ');
}

/** The lowest MOS of the call's legs. */
function mos(call) {
  const all = call.legs.map((leg) => leg.quality?.mos).filter((it) => typeof it === 'number');
  if (!all.length) return '–';
  const worst = Math.min(...all);
  return worst < POOR_MOS ? { badge: () => badge('warn', worst.toFixed(2)), sign: worst.toFixed(2) } : worst.toFixed(2);
}

const gateways = (call) => [...new Set(call.legs.map((leg) => leg.gateway).filter(Boolean))].join(' → ');

const haystack = (call) =>
  [call.call, call.state, call.application, call.route, notes(call), ...parties(call),
    ...call.legs.flatMap((leg) => [leg.caller, leg.callee, leg.gateway, leg.user, leg.state]),
    ...Object.entries(call.variables).flat()].join(' ').toLowerCase();

export function callsView() {
  const list = table('Active calls, oldest first', ['call', 'from', 'to', 'state', 'since', 'talking', 'MOS', 'with', 'route', 'gateway', 'notes'],
    { open: (key) => { location.hash = `call/${key}`; }, empty: 'There are no active calls.' });
  const filter = h('input', {
    id: 'filter', type: 'search', placeholder: 'number, name, state, gateway …', 'aria-label': 'Filter calls',
    spellcheck: 'false', autocomplete: 'off', oninput: () => draw(),
  });
  const figure = h('p', { class: 'figure', role: 'status' });
  const [ended, begin] = [endedCalls(), beginCall()];
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
          mos(call), call.application || '', call.route || '', gateways(call), notes(call),
        ],
      };
    }));
    const of = seen.calls.length < seen.total ? `, of the oldest ${seen.calls.length}` : '';
    setText(figure, shown.length === seen.total ? `${seen.total} up` : `${shown.length} shown${of}, ${seen.total} up`);
  }

  return {
    title: 'Calls',
    element: h('section', null,
      h('div', { class: 'bar' }, h('h2', null, 'Calls'), figure, h('label', { class: 'filter' }, filter)), begin.element, list.element, ended.element),
    async refresh() {
      // A filter searches more calls than are shown.
      const limit = filter.value ? MOST : SHOWN;
      seen = await api.get(`calls?quality=true&limit=${limit}`);
      at = Date.now();
      draw();
      await begin.look();
      // Not awaited: active calls do not wait for the ended ones.
      ended.refresh();
    },
    tick: draw,
    gone: ended.gone,
    wants: (event) => event.call !== undefined && !['digit', 'quality', 'lookup'].includes(event.type),
    keys: { n: begin.open },
    focus: list.focus,
    filter,
  };
}
