// The alarms: what needs attention, since when, and what to do.

import { badge, dayOf, h, span, words } from './dom.js';
import * as api from './api.js';
import { live } from './live.js';

function item(alarm) {
  const times = alarm.count > 1 ? `, ${alarm.count} times, the last at ${dayOf(alarm.latest)}` : '';
  return h('li', null, badge(alarm.severity === 'critical' ? 'bad' : 'warn', alarm.severity),
    h('h3', null, `${words(alarm.name)}${alarm.subject ? `: ${alarm.subject}` : ''}`),
    h('p', null, alarm.text), h('p', null, h('b', null, 'What to do: '), alarm.fix),
    h('p', { class: 'faint' }, `since ${dayOf(alarm.since)} (${span((Date.now() - Date.parse(alarm.since)) / 1000)})${times}`));
}

/** The result of the last read. */
export const alarms = { list: [] };

/** Reads the alarms from the server. */
export async function read() {
  alarms.list = (await api.get('alarms', { alarms: [] })).alarms;
  return alarms.list;
}

export function alarmsView() {
  const list = h('ul', { class: 'alarms' });
  let drawn = '';
  return {
    title: 'Alarms',
    element: h('section', null, h('div', { class: 'bar' }, h('h2', null, 'Alarms')), list),
    async refresh() {
      const found = await read();
      const own = live.state === 'polling'
        ? [{ name: 'no_live_events', severity: 'warning', subject: '', text: 'This page has no WebSocket and polls instead.', count: 1,
          since: new Date(live.since).toISOString(), fix: 'configure the proxy in front of this server to forward WebSocket upgrades of /events' }]
        : [];
      const all = [...found, ...own];
      const sign = JSON.stringify(all) + Math.floor(Date.now() / 10000);
      if (sign === drawn) return;
      drawn = sign;
      list.replaceChildren(...(all.length ? all.map(item) : [h('li', { class: 'calm' }, badge('good', 'no active alarms'))]));
    },
    wants: (event) => ['emergency_call', 'error', 'banned', 'proxy_not_named', 'gateway_health', 'gateway_registration', 'reloaded', 'draining', 'handler_failed', 'overload'].includes(event.type),
    focus: () => list.focus(),
  };
}
