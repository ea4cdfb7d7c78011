// One call: its state, verdicts, quality over time, ladder diagram, and actions.

import { badge, bytes, clock, confirmed, count, h, say, setText, span } from './dom.js';
import * as api from './api.js';
import { FIGURES, Series, chart } from './quality.js';
import { ladder, ladderWords } from './ladder.js';
import { messages } from './messages.js';
import { numberOf } from './names.js';
import { parties, stateBadge, stateOf } from './calls.js';
import { turns } from './turns.js';

/** Series by call. They outlive the view, so a user who returns to a call sees its history. */
const known = new Map();

function seriesOf(call) {
  if (!known.has(call)) {
    known.set(call, new Map());
    if (known.size > 50) known.delete(known.keys().next().value);
  }
  return known.get(call);
}

function verdict(it) {
  const fault = it.findings.some((finding) => finding.fault);
  const kind = it.audio === 'both_ways' ? (fault ? 'warn' : 'good') : it.audio === 'not_judged' ? 'idle' : 'bad';
  const until = it.ended_ms === null ? 'now' : `${(it.ended_ms / 1000).toFixed(1)} s`;
  return h('li', null, badge(kind, it.words), ` legs ${it.legs.join(' and ')}, ${(it.began_ms / 1000).toFixed(1)} s to ${until}`,
    it.findings.length > 0 && h('ul', null, it.findings.map((finding) =>
      h('li', null, h('b', null, `leg ${finding.leg}: ${finding.cause.replaceAll('_', ' ')}`), `: ${finding.evidence}. ${finding.advice}`))));
}

const none = (value, unit = '') => (value === null || value === undefined ? '–' : `${value}${unit}`);

function legRow(leg, now, { name, uri }) {
  const media = leg.media;
  const at = (text) => h('span', { class: 'address' }, text ?? '–');
  const facts = [
    ['state', now ? stateBadge(now.holds ? 'held' : now.state) : badge('idle', 'ended')],
    ['codec', none(leg.codec)], ['signalling', at(leg.signalling)],
    ['media from', at(media?.source)], ['media to', at(media?.signalled)],
    ['received', media ? `${count(media.packets_received)} packets` : '–'], ['sent', media ? `${count(media.packets_sent)} packets` : '–'],
    ['lost here', media ? count(media.packets_lost) : '–'], ['lost there', none(media?.far_lost)],
    ['jitter', none(media?.jitter_ms, ' ms')], ['round trip', none(media?.round_trip_ms, ' ms')], ['MOS', none(media?.mos)],
    ['gateway', leg.gateway ?? now?.gateway ?? '–'],
  ];
  const agent = leg.voice_agent;
  if (agent) {
    const times = [agent.first_response_ms, agent.median_response_ms, agent.worst_response_ms];
    facts.push(['agent spoke', `${count(agent.utterances)} times, ${count(agent.interruptions)} interrupted`],
      ['first, median, worst response', times[0] === null ? '–' : `${times.map(count).join(', ')} ms`]);
  }
  return h('section', { class: 'leg' }, h('h4', null, `leg ${leg.leg} `, h('span', { class: 'address', title: uri }, name)),
    h('dl', { class: 'facts' }, facts.map(([term, value]) => h('div', null, h('dt', null, term), h('dd', null, value)))));
}

export function callView(id) {
  const title = h('h2', null, `Call ${id}`);
  const line = h('p', { class: 'figure', role: 'status' });
  const tools = h('div', { class: 'row tools' });
  const [verdicts, legs, charts, picture, inWords] =
    [h('ul', { class: 'verdicts' }), h('div', { class: 'legs' }), h('div', { class: 'charts' }), h('div', { class: 'picture' }), h('div')];
  const strip = h('div');
  const noted = h('p');
  let report = null;
  /** The timeline, its legs named by their parties. */
  let timeline = null;
  let drawn = '';

  const done = async (what, method, path, body) => {
    try {
      await api.act(method, path, body);
      say(what);
      await view.refresh();
    } catch (error) {
      say(error.message, true);
    }
  };
  const button = (text, act, danger) => h('button', { type: 'button', class: danger && 'danger', onclick: act }, text);

  async function hangUp() {
    if (!report?.now) return;
    const [from, to] = parties(report.now);
    if (await confirmed('Hang up?', `Call ${id}, from ${from || 'unknown'} to ${to || 'unknown'}, ends for everybody in it.`, 'Hang up')) {
      await done(`Call ${id} is hung up`, 'DELETE', `calls/${id}`);
    }
  }

  const capture = () => (report?.media_captured?.running
    ? done('Capture stopped', 'DELETE', `calls/${id}/capture`)
    : done('Media capture started', 'POST', `calls/${id}/capture`));

  const record = () => (report?.now?.recording
    ? done('Recording stopped', 'DELETE', `calls/${id}/recording`)
    : done('Recording started', 'POST', `calls/${id}/recording`));

  const save = (path, name) => api.save(`calls/${id}/${path}`, name).catch((error) => say(error.message, true));

  const wire = messages(id);

  function drawTools() {
    const now = report.now;
    const captured = report.media_captured;
    const wanted = JSON.stringify([!!now, now?.recording?.paused, captured?.running]);
    if (tools.dataset.for === wanted) return;
    tools.dataset.for = wanted;
    // Keeps the focus at its position although the labels change.
    const at = [...tools.children].indexOf(document.activeElement);
    tools.replaceChildren(...[
      now && button(captured?.running ? 'Stop capture' : 'Capture media', capture),
      button('Save PCAP', () => save('pcap', `call-${id}.pcap`)),
      button('Save journal', () => save('journal', `call-${id}.journal`)),
      now && button(now.recording ? 'Stop recording' : 'Record', record),
      now?.recording && button(now.recording.paused ? 'Resume recording' : 'Pause recording', () =>
        done(now.recording.paused ? 'Recording resumed' : 'Recording paused', 'PATCH', `calls/${id}/recording`, { paused: !now.recording.paused })),
      now && button('Hang up', hangUp, true),
    ].filter(Boolean));
    if (at >= 0) tools.children[Math.min(at, tools.children.length - 1)]?.focus();
  }

  function draw() {
    const { now } = report;
    const known = new Map(report.legs.map((leg) => [leg.leg, leg.party]));
    const named = report.timeline.legs.map(({ leg, name }) => ({ leg, name: known.get(leg) || numberOf(name) || name, uri: name }));
    timeline = { ...report.timeline, legs: named };
    const [from, to] = now ? parties(now) : named.map((leg) => leg.name);
    setText(title, `Call ${id}: ${from || 'unknown'} → ${to || 'not connected yet'}`);
    line.replaceChildren(now ? stateBadge(stateOf(now)) : badge('idle', 'ended'),
      ` began ${clock(report.began)}, ${now ? 'active for' : 'lasted'} ${span(report.duration_ms / 1000)}`,
      report.route ? `, route ${report.route}` : '', now?.application ? `, with ${now.application}` : '',
      now?.recording ? `, recorded in ${now.recording.file}` : '');
    drawTools();
    verdicts.replaceChildren(...(report.verdicts.length ? report.verdicts.map(verdict) : [h('li', null, badge('idle', 'no verdict yet'), ' a verdict needs two joined legs and a second of audio')]));
    const names = new Map(named.map((leg) => [leg.leg, leg]));
    legs.replaceChildren(...report.legs.map((leg) => legRow(leg, now?.legs.find((it) => it.leg === leg.leg), names.get(leg.leg) ?? { name: leg.party ?? '' })));
    const series = seriesOf(id);
    for (const leg of report.legs) {
      if (!leg.media) continue;
      if (!series.has(leg.leg)) series.set(leg.leg, new Series());
      if (now) series.get(leg.leg).add(report.duration_ms / 1000, leg.media);
    }
    // The server's series begin with the call. Without them: the values that this page has read.
    const lines = report.legs.map((leg) => ({
      name: `leg ${leg.leg}`, points: leg.over_time?.length ? leg.over_time : series.get(leg.leg)?.points ?? [],
    })).filter((it) => it.points.length);
    charts.replaceChildren(...(lines.length ? FIGURES.map((figure) => chart(figure, lines)) : [h('p', { class: 'empty' }, 'No measurements yet.')]));
    const captured = report.media_captured;
    setText(noted, captured ? `Captured: ${count(captured.packets)} packets, ${bytes(captured.bytes)} (${captured.media}), ${count(captured.left_out)} left out` : '');
    drawLadder();
  }

  function drawLadder(anew) {
    const width = Math.floor(picture.clientWidth) || 320;
    // An utterance's record changes when it ends.
    const loudness = report.legs.map((leg) => leg.loudness);
    const sign = `${width} ${JSON.stringify([timeline, loudness])}`;
    if (sign === drawn && !anew) return;
    drawn = sign;
    strip.replaceChildren(...[turns(timeline, report.duration_ms, width, report.legs)].filter(Boolean));
    picture.replaceChildren(ladder(timeline, width));
    inWords.replaceChildren(ladderWords(timeline));
  }

  const watch = new ResizeObserver(() => report && drawLadder());
  const view = {
    title: `Call ${id}`,
    parent: 'calls',
    element: h('section', { class: 'call' }, h('p', null, h('a', { href: '#calls' }, '← all calls')),
      h('div', { class: 'bar' }, title, line), tools, noted, h('h3', null, 'Verdicts'), verdicts, h('h3', null, 'Legs'), legs,
      h('h3', null, 'Quality over time'), charts, h('h3', null, 'Timeline'), strip, picture,
      h('details', null, h('summary', null, 'As text'), inWords), wire.element),
    async refresh() {
      if (report?.over) return;
      const next = await api.get(`calls/${id}`, null);
      if (next === null) {
        setText(line, 'There is no such call: only the most recent ended calls are kept.');
        return;
      }
      report = next;
      draw();
      wire.refresh(report.timeline.records.length);
    },
    shown: () => watch.observe(picture),
    gone: () => watch.disconnect(),
    // Counters change without an event.
    everyMs: 2000,
    wants: (event) => String(event.call) === id,
    keys: { x: hangUp, c: capture, e: record },
    focus: () => tools.firstElementChild?.focus(),
  };
  return view;
}
