// The turns of a voice agent: its utterances over the time of the call, each with the wait before it and what of it was
// not heard.

import { h, s } from './dom.js';

const [HEIGHT, TOP, BAR] = [44, 6, 20];

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

/** The utterances of a timeline, `duration_ms` long, in this width; null: there are none. */
export function turns(timeline, duration_ms, width) {
  const all = timeline.records.filter((record) => record.kind === 'utterance');
  if (all.length === 0) return null;
  const x = (ms) => (Math.max(0, Math.min(ms, duration_ms)) / Math.max(1, duration_ms)) * width;
  const part = (kind, from, to, text) => s('rect',
    { class: kind, x: x(from), y: TOP, width: Math.max(1, x(to) - x(from)), height: BAR }, s('title', null, text));
  const interrupted = all.filter((it) => it.state === 'interrupted').length;
  const label = `${all.length} utterances of the agent, ${interrupted} interrupted; the same in words is below`;
  const picture = s('svg', { class: 'turns', width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, role: 'img', 'aria-label': label },
    s('line', { class: 'axis', x1: 0, x2: width, y1: TOP + BAR, y2: TOP + BAR }),
    s('text', { class: 'time', x: 0, y: HEIGHT - 4 }, '0 s'),
    s('text', { class: 'time', x: width, y: HEIGHT - 4, 'text-anchor': 'end' }, `${(duration_ms / 1000).toFixed(0)} s`));
  all.forEach((it, at) => {
    const words = `${(it.at_ms / 1000).toFixed(3)} s: ${uttered(it)}`;
    const end = it.sent_ms === undefined ? all[at + 1]?.at_ms ?? duration_ms : it.at_ms + it.sent_ms;
    if (it.response_ms !== undefined) picture.append(part('wait', it.at_ms - it.response_ms, it.at_ms, words));
    picture.append(part('spoken', it.at_ms, end, words));
    if (it.heard_ms) picture.append(part('unheard', it.at_ms + it.heard_ms[0], end, words));
  });
  const key = [['wait', 'the party waits'], ['spoken', 'the agent speaks'], ['unheard', 'not heard']];
  return h('figure', null, h('figcaption', null, h('b', null, 'turns'), key.map(([kind, text]) => [' ', h('span', { class: `key ${kind}` }), text])), picture);
}
