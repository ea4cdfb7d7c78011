// The turns of a voice agent: its utterances over the time of the call, each with the wait before it and what of it was
// not heard, below how loud both were.

import { h, s } from './dom.js';

const [HEIGHT, TOP, BAR, WAVE, LOUDEST] = [44, 6, 20, 30, 15];

/** An utterance in words. */
export function uttered({ utterance, state, response_ms, sent_ms, heard_ms }) {
  const answers = response_ms === undefined ? '' : `, ${response_ms} ms after the party`;
  const ends = {
    sent: `; all ${sent_ms} ms were sent`,
    cleared: `; cleared after ${sent_ms} ms`,
    interrupted: `; interrupted, ${heard_ms?.join(' to ')} of ${sent_ms} ms were heard`,
  };
  return `agent speaks: utterance ${utterance}${answers}${ends[state] ?? ''}`;
}

/** The steps of a leg's loudness as strokes around the middle of a band. */
function wave(kind, digits, { from_ms, step_ms }, x, middle) {
  const strokes = [...digits].map((digit, at) => {
    const half = (parseInt(digit, 16) / LOUDEST) * (WAVE / 2 - 1);
    return half ? `M${x(from_ms + (at + 0.5) * step_ms).toFixed(1)} ${(middle - half).toFixed(1)}v${(2 * half).toFixed(1)}` : '';
  });
  const thick = Math.max(0.5, x(step_ms) * 0.8).toFixed(1);
  return s('path', { class: `wave ${kind}`, 'stroke-width': thick, d: strokes.join('') || 'M0 0' });
}

/** The utterances of a timeline, `duration_ms` long, in this width, with the loudness of these legs; null: there are none. */
export function turns(timeline, duration_ms, width, legs) {
  const all = timeline.records.filter((record) => record.kind === 'utterance');
  const loud = legs.flatMap((leg) => leg.loudness ?? []);
  if (!all.length && !loud.length) return null;
  const x = (ms) => (Math.max(0, Math.min(ms, duration_ms)) / Math.max(1, duration_ms)) * width;
  const top = TOP + (loud.length ? 2 * WAVE : 0);
  const height = HEIGHT + top - TOP;
  const part = (kind, from, to, text) => s('rect',
    { class: kind, x: x(from), y: top, width: Math.max(1, x(to) - x(from)), height: BAR }, s('title', null, text));
  const interrupted = all.filter((it) => it.state === 'interrupted').length;
  const label = `${all.length} utterances of the agent, ${interrupted} interrupted; the same in words is below`;
  const picture = s('svg', { class: 'turns', width, height, viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': label },
    s('line', { class: 'axis', x1: 0, x2: width, y1: top + BAR, y2: top + BAR }),
    s('text', { class: 'time', x: 0, y: height - 4 }, '0 s'),
    s('text', { class: 'time', x: width, y: height - 4, 'text-anchor': 'end' }, `${(duration_ms / 1000).toFixed(0)} s`));
  loud.forEach((it) => picture.append(
    wave('party', it.party, it, x, TOP + WAVE / 2), wave('agent', it.agent, it, x, TOP + WAVE * 1.5)));
  all.forEach((it, at) => {
    const words = `${(it.at_ms / 1000).toFixed(3)} s: ${uttered(it)}`;
    const end = it.sent_ms === undefined ? all[at + 1]?.at_ms ?? duration_ms : it.at_ms + it.sent_ms;
    if (it.response_ms !== undefined) picture.append(part('wait', it.at_ms - it.response_ms, it.at_ms, words));
    picture.append(part('spoken', it.at_ms, end, words));
    if (it.heard_ms) picture.append(part('unheard', it.at_ms + it.heard_ms[0], end, words));
  });
  const sound = loud.length ? [['party', 'the party, by loudness'], ['agent', 'the agent']] : [];
  const key = [...sound, ['wait', 'the party waits'], ['spoken', 'the agent speaks'], ['unheard', 'not heard']];
  return h('figure', null, h('figcaption', null, h('b', null, 'turns'), key.map(([kind, text]) => [' ', h('span', { class: `key ${kind}` }), text])), picture);
}
