// The server's figures, from /metrics, and its latest events.

import { bytes, clock, count, h, setText, span } from './dom.js';
import * as api from './api.js';
import { live } from './live.js';
import { table } from './table.js';

/** Parses the Prometheus text format into a map from name with labels to number. */
export function parse(text) {
  const found = new Map();
  for (const line of text.split('\n')) {
    if (line.startsWith('#') || !line) continue;
    const at = line.lastIndexOf(' ');
    found.set(line.slice(0, at), Number(line.slice(at + 1)));
  }
  return found;
}

/** Rates are measured over this time. */
const SPAN_MS = 12000;
/** The longest time between two RTCP reports of a leg; its packets are counted with each. A shorter span may have none. */
const REPORT_MS = 7000;

const sum = (metrics, name) => [...metrics].filter(([key]) => key === name || key.startsWith(`${name}{`)).reduce((all, [, it]) => all + it, 0);

export function serverView() {
  const facts = h('dl', { class: 'facts wide' });
  const all = table('Every metric', ['name', 'value'], {});
  const events = h('ol', { class: 'words events' });
  const details = h('details', null, h('summary', null, 'Every metric'), all.element);
  const samples = [];
  let before = null;

  function figures(now, at) {
    const one = (name) => now.get(name) ?? 0;
    const rate = (name) => (before && at > before.at ? Math.max(0, sum(now, name) - sum(before.metrics, name)) / ((at - before.at) / 1000) : null);
    const per = (name, unit) => (rate(name) === null ? '…' : `${count(rate(name))} ${unit}`);
    const version = [...now.keys()].find((key) => key.startsWith('b2b_info'))?.match(/version="([^"]*)"/)?.[1];
    const ticks = one('b2b_media_ticks_total{when="in_time"}') + one('b2b_media_ticks_total{when="late"}');
    const late = one('b2b_media_ticks_total{when="late"}');
    const cpu = rate('b2b_cpu_seconds_total');
    return [
      ['version', version ?? '–'], ['up for', span(one('b2b_uptime_seconds'))], ['calls', count(sum(now, 'b2b_calls'))],
      ['inbound calls', count(one('b2b_calls_incoming_total'))], ['refused calls', count(one('b2b_calls_refused_total'))],
      ['CPU', cpu === null ? '…' : `${(100 * cpu).toFixed(1)} % of a core`], ['memory', bytes(one('b2b_resident_bytes'))],
      ['RTP', per('b2b_media_packets_total', 'packets/s both ways')], ['RTP lost here', count(one('b2b_media_lost_total{where="here"}'))],
      ['late ticks', ticks ? `${count(late)} of ${count(ticks)}` : 'none'],
      ['RTP ports', `${count(one('b2b_media_ports{state="used"}'))} used, ${count(one('b2b_media_ports{state="free"}') + one('b2b_media_ports{state="ready"}'))} free`],
      ['SIP sent', per('b2b_sip_sent_total', 'messages/s')], ['retransmitted', count(one('b2b_sip_retransmitted_total'))],
      ['malformed', count(one('b2b_sip_malformed_total'))], ['records written', count(one('b2b_records_total{result="written"}'))],
      ['records lost', count(one('b2b_records_total{result="lost"}'))], ['contacts', count(one('b2b_bindings'))],
      ['bans', count(one('b2b_abuse_total{kind="banned"}'))],
    ];
  }

  function drawEvents() {
    const skip = new Set(['seq', 'time', 'type']);
    events.replaceChildren(...live.latest.slice(0, 50).map((event) => h('li', null, h('b', null, `${clock(event.time)} `), event.type.replaceAll('_', ' '), ' ',
      Object.entries(event).filter(([name]) => !skip.has(name)).map(([name, value]) => `${name} ${typeof value === 'object' ? JSON.stringify(value) : value}`).join(', '))));
  }

  return {
    title: 'Server',
    element: h('section', null, h('div', { class: 'bar' }, h('h2', null, 'Server')), facts, details, h('h3', null, 'Latest events'), events),
    async refresh() {
      const now = parse(await api.text('metrics'));
      const at = Date.now();
      while (samples.length > 1 && at - samples[1].at >= SPAN_MS) samples.shift();
      before = samples.length > 0 && at - samples[0].at >= REPORT_MS ? samples[0] : null;
      const rows = figures(now, at);
      if (facts.children.length !== rows.length) {
        facts.replaceChildren(...rows.map(([term]) => h('div', null, h('dt', null, term), h('dd'))));
      }
      rows.forEach(([, value], place) => setText(facts.children[place].querySelector('dd'), value));
      if (details.open) all.update([...now].map(([name, value]) => ({ key: name, cells: [name, count(value)] })));
      samples.push({ metrics: now, at });
      drawEvents();
    },
    tick: drawEvents,
    everyMs: 3000,
    focus: all.focus,
  };
}
