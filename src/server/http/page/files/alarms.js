// The alarms: what needs attention, since when, and what to do.

import { badge, dayOf, h, say, span, words } from './dom.js';
import * as api from './api.js';
import { live } from './live.js';

/** `seen`: called when an operator has seen it; none: it cannot be acknowledged. */
function item(alarm, seen) {
  const times = alarm.count > 1 ? `, ${alarm.count} times, the last at ${dayOf(alarm.latest)}` : '';
  const button = seen && !alarm.acknowledged && h('button', { type: 'button', onclick: () => seen(alarm) }, 'Acknowledge');
  return h('li', null, alarm.acknowledged ? badge('idle', 'acknowledged') : badge(alarm.severity === 'critical' ? 'bad' : 'warn', alarm.severity),
    h('h3', null, `${words(alarm.name)}${alarm.subject ? `: ${alarm.subject}` : ''}`),
    h('p', null, alarm.text), h('p', null, h('b', null, 'What to do: '), alarm.fix),
    h('p', { class: 'faint' }, `since ${dayOf(alarm.since)} (${span((Date.now() - Date.parse(alarm.since)) / 1000)})${times}`), button);
}

/** Those of the last read that nobody has acknowledged. */
export const alarms = { list: [] };

/** Reads the alarms from the server. */
export async function read() {
  const all = (await api.get('alarms', { alarms: [] })).alarms;
  alarms.list = all.filter((it) => !it.acknowledged);
  return all;
}

export function alarmsView() {
  const list = h('ul', { class: 'alarms' });
  let drawn = '';
  async function seen(alarm) {
    try {
      await api.act('POST', `alarms/${alarm.name}/acknowledge?subject=${encodeURIComponent(alarm.subject)}`);
    } catch (error) { say(error.message, true); }
    await view.refresh();
  }
  const view = {
    title: 'Alarms',
    element: h('section', null, h('div', { class: 'bar' }, h('h2', null, 'Alarms')), list),
    async refresh() {
      const found = await read();
      const own = live.state === 'polling'
        ? [{ name: 'no_live_events', severity: 'warning', subject: '', text: 'This page has no WebSocket and polls instead.', count: 1,
          since: new Date(live.since).toISOString(), fix: 'configure the proxy in front of this server to forward WebSocket upgrades of /events' }]
        : [];
      const sign = JSON.stringify([found, own]) + Math.floor(Date.now() / 10000);
      if (sign === drawn) return;
      drawn = sign;
      const all = [...found.map((it) => item(it, seen)), ...own.map((it) => item(it))];
      list.replaceChildren(...(all.length ? all : [h('li', { class: 'calm' }, badge('good', 'no active alarms'))]));
    },
    wants: (event) => ['emergency_call', 'error', 'banned', 'proxy_not_named', 'gateway_health', 'gateway_registration', 'reloaded', 'draining', 'handler_failed', 'overload'].includes(event.type),
    focus: () => list.focus(),
  };
  return view;
}
