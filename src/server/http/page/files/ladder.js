// A call's timeline as a ladder diagram: the first leg on the left, b2b beside it, further legs to the
// right; time runs down. Arrows are messages, bands are media; every row has a label.

import { h, s, words } from './dom.js';
import { uttered } from './turns.js';

const ROW = 34;
const TOP = 44;
/** Lanes besides the first leg's and b2b's; further legs share the last one. */
const LANES = 3;
const CHAR = 6.6;

const REASONS = {
  100: 'Trying', 180: 'Ringing', 181: 'Forwarded', 183: 'Progress', 200: 'OK', 202: 'Accepted', 302: 'Moved',
  401: 'asks for a password', 403: 'Forbidden', 404: 'Not Found', 407: 'asks for a password', 408: 'Timeout', 480: 'Unavailable',
  481: 'No Dialog', 486: 'Busy', 487: 'Terminated', 488: 'Not Acceptable', 491: 'Pending', 500: 'Error',
  503: 'Unavailable', 600: 'Busy', 603: 'Declined',
};

/** Whether a record is a refusal. A challenge is not: the request is repeated with credentials. */
const refused = (record) => record.status >= 400 && record.status !== 401 && record.status !== 407;

/** The label of a record. */
export function said(record) {
  switch (record.kind) {
    case 'signal': {
      const reason = REASONS[record.status];
      const what = record.status === null ? record.method
        : `${record.status}${reason ? ` ${reason}` : ''}${record.method === 'INVITE' ? '' : ` (${record.method})`}`;
      return record.body === 'none' ? what : `${what} · ${record.body}`;
    }
    case 'media': return record.fact;
    case 'decision': return record.times ? `${record.what} (${record.times} times)` : record.what;
    case 'utterance': return uttered(record);
    default: return record.state;
  }
}

const cut = (text, width) => {
  const fits = Math.max(4, Math.floor(width / CHAR));
  return text.length > fits ? `${text.slice(0, fits - 1)}…` : text;
};

/** The ladder diagram of a timeline; `width` in pixels. */
export function ladder(timeline, width) {
  const legs = timeline.legs;
  const lanes = Math.max(2, Math.min(legs.length, 1 + LANES) + 1);
  const gutter = width < 520 ? 46 : 66;
  const side = width < 520 ? 26 : 70;
  const x = (lane) => gutter + side + (lane * (width - gutter - 2 * side)) / (lanes - 1);
  const laneOf = (leg) => {
    const at = legs.findIndex((it) => it.leg === leg);
    if (at === 0) return 0;
    return at < 0 ? 1 : Math.min(at + 1, lanes - 1);
  };
  const gap = timeline.left_out > 0 ? timeline.left_out_after : -1;
  const rows = timeline.records.length + (gap >= 0 ? 1 : 0);
  const height = TOP + rows * ROW + 12;
  const picture = s('svg', {
    class: 'ladder', width, height, viewBox: `0 0 ${width} ${height}`, role: 'img',
    'aria-label': `Ladder of ${timeline.records.length} records between ${legs.map((leg) => leg.name).join(', ')} and b2b; the same in words is below`,
  });
  const heads = [[0, legs[0]?.name || 'party', legs[0]?.uri], [1, 'b2b'], ...legs.slice(1, lanes - 1).map((leg, at) => [at + 2, leg.name, leg.uri])];
  for (const [lane, name, uri] of heads) {
    const room = Math.min((width - gutter) / lanes, 2 * Math.min(x(lane), width - x(lane)));
    picture.append(
      s('line', { class: 'lane', x1: x(lane), x2: x(lane), y1: TOP - 12, y2: height - 6 }),
      s('text', { class: 'head', x: x(lane), y: 18, 'text-anchor': 'middle' }, cut(name, room * 0.85), s('title', null, uri || name)));
  }
  const flowing = new Map();
  timeline.records.forEach((record, at) => {
    const y = TOP + (at + (gap >= 0 && at >= gap ? 1 : 0)) * ROW + ROW / 2;
    if (at === gap) note(picture, width, gutter, y - ROW, '…', `${timeline.left_out} records omitted`, 'state');
    picture.append(row(record, y));
    const media = record.kind === 'media' && record.fact === 'first packet';
    if (media && record.leg !== null && !flowing.has(record.leg)) flowing.set(record.leg, y);
  });
  // A band on the lane, from the first RTP packet to the end of the leg or of the diagram.
  for (const [leg, y] of flowing) {
    const ends = timeline.records.findIndex((it) => it.leg === leg && it.kind === 'state' && /destroyed|failed/.test(it.state));
    const to = ends < 0 ? height - 6 : TOP + (ends + (gap >= 0 && ends >= gap ? 1 : 0)) * ROW + ROW / 2;
    picture.prepend(s('rect', { class: 'flow', x: x(laneOf(leg)) - 4, y, width: 8, height: Math.max(2, to - y) }, s('title', null, 'RTP')));
  }
  return picture;

  function row(record, y) {
    const time = s('text', { class: 'time', x: gutter - 6, y: y + 4, 'text-anchor': 'end' }, (record.at_ms / 1000).toFixed(gutter < 50 ? 2 : 3));
    const text = said(record);
    const whole = `${(record.at_ms / 1000).toFixed(3)} s: ${text}${record.note ? `, ${record.note}` : ''}`;
    const group = s('g', { class: `${record.kind}${refused(record) ? ' refused' : ''}` }, s('title', null, whole), time);
    const lane = record.leg === null ? 1 : laneOf(record.leg);
    const arrow = record.kind === 'signal' || (record.kind === 'media' && record.fact === 'first packet');
    if (!arrow || record.leg === null || lane === 1) {
      const marks = { decision: '◆', state: '●', media: '∿', signal: '✉', utterance: '❞' };
      note(group, width, gutter, y, marks[record.kind], record.note ? `${text}: ${record.note}` : text, record.kind, x(lane));
      return group;
    }
    const inward = record.kind === 'media' || record.way === 'in';
    const [from, to] = inward ? [x(lane), x(1)] : [x(1), x(lane)];
    const way = Math.sign(to - from);
    const label = (refused(record) ? '✕ ' : '') + (record.kind === 'media' ? 'RTP, first packet' : text);
    group.append(
      s('line', { class: 'arrow', x1: from, x2: to - way * 7, y1: y + 6, y2: y + 6 }),
      s('path', { class: 'tip', d: `M${to} ${y + 6}l${-way * 9} -4.5v9z` }),
      s('text', { class: 'label', x: (from + to) / 2, y: y, 'text-anchor': 'middle' }, cut(label, Math.abs(to - from) - 8)));
    return group;
  }
}

/** A row's remark, which begins at its lane if there is room. */
function note(into, width, gutter, y, mark, text, kind, lane = gutter + 8) {
  const room = width - lane - 14;
  const needed = Math.min(text.length * CHAR + 28, width - gutter - 8);
  const from = needed > room ? Math.max(gutter + 4, width - needed - 6) : lane;
  const shown = cut(text, width - from - 26);
  into.append(
    s('rect', { class: 'under', x: from - 7, y: y - 11, width: Math.min(shown.length * CHAR + 30, width - from + 5), height: 22, rx: 4 }),
    s('text', { class: `mark ${kind}`, x: from, y: y + 4, 'text-anchor': 'middle' }, mark),
    s('text', { class: 'remark', x: from + 12, y: y + 4 }, shown));
}

/** The timeline as text, for users who cannot see the diagram. */
export function ladderWords(timeline) {
  const names = new Map(timeline.legs.map((leg) => [leg.leg, leg.name]));
  return h('ol', { class: 'words' }, timeline.records.map((record) => {
    const who = record.leg === null ? '' : ` ${names.get(record.leg) ?? `leg ${record.leg}`}`;
    const way = record.kind === 'signal' ? (record.way === 'in' ? ' from' : ' to') : who && (record.kind === 'utterance' ? ', to' : ' of');
    return h('li', null, h('b', null, `${(record.at_ms / 1000).toFixed(3)} s `), `${said(record)}${way}${who}`,
      record.note ? `: ${words(record.note)}` : '');
  }));
}
