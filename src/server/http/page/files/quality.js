// Media quality over time: a small chart per figure, a line per leg.

import { h, s } from './dom.js';

const [WIDTH, HEIGHT, LEFT, BOTTOM] = [320, 110, 40, 18];

export const FIGURES = [
  { name: 'loss', unit: '%', of: (point) => point.loss_pct, least: 1, digits: 2 },
  { name: 'jitter', unit: 'ms', of: (point) => point.jitter_ms, least: 10, digits: 1 },
  { name: 'round trip', unit: 'ms', of: (point) => point.round_trip_ms, least: 20, digits: 1 },
  { name: 'MOS', unit: '', of: (point) => point.mos, least: 4.5, from: 1, digits: 2 },
];

/** A leg's points, from successive readings of its counters. */
export class Series {
  constructor() {
    this.points = [];
    this.before = null;
  }

  /** Adds the counters `quality`, read `at_s` seconds into the call. */
  add(at_s, quality) {
    const before = this.before;
    if (before && at_s - before.at_s < 1.5) return;
    const got = quality.packets_received - (before?.quality.packets_received ?? 0);
    const lost = Math.max(0, quality.packets_lost - (before?.quality.packets_lost ?? 0));
    if (before || got > 0) {
      this.points.push({
        at_s, loss_pct: got + lost > 0 ? (100 * lost) / (got + lost) : null, jitter_ms: quality.jitter_ms,
        round_trip_ms: quality.round_trip_ms, mos: quality.mos,
      });
    }
    // Drops every second point when there are too many, so that the whole call stays visible.
    if (this.points.length > 240) this.points = this.points.filter((_, at) => at % 2 === 0);
    this.before = { at_s, quality };
  }
}

/** One chart. `lines`: `{ name, points }`. */
export function chart(figure, lines) {
  const points = lines.flatMap((line) => line.points).filter((point) => figure.of(point) !== null);
  const last = points.reduce((most, point) => Math.max(most, point.at_s), 0);
  const first = points.reduce((least, point) => Math.min(least, point.at_s), last);
  const top = points.reduce((most, point) => Math.max(most, figure.of(point)), figure.least);
  const from = figure.from ?? 0;
  const x = (at) => LEFT + ((at - first) / Math.max(1, last - first)) * (WIDTH - LEFT - 8);
  const y = (value) => HEIGHT - BOTTOM - ((value - from) / (top - from)) * (HEIGHT - BOTTOM - 10);
  const latest = lines.map((line) => {
    const point = line.points.filter((it) => figure.of(it) !== null).at(-1);
    return `${line.name} ${point ? figure.of(point).toFixed(figure.digits) : '–'}`;
  });
  const svg = s('svg', { class: 'chart', viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', 'aria-label': `${figure.name}, now: ${latest.join(', ')} ${figure.unit}` },
    s('line', { class: 'axis', x1: LEFT, x2: WIDTH - 8, y1: y(from), y2: y(from) }),
    s('line', { class: 'axis faint', x1: LEFT, x2: WIDTH - 8, y1: y(top), y2: y(top) }),
    s('text', { class: 'time', x: LEFT - 5, y: y(from) + 4, 'text-anchor': 'end' }, String(from)),
    s('text', { class: 'time', x: LEFT - 5, y: y(top) + 4, 'text-anchor': 'end' }, top.toFixed(top < 10 ? 1 : 0)),
    s('text', { class: 'time', x: LEFT, y: HEIGHT - 3 }, `${first.toFixed(0)} s`),
    s('text', { class: 'time', x: WIDTH - 8, y: HEIGHT - 3, 'text-anchor': 'end' }, `${last.toFixed(0)} s`));
  lines.forEach((line, at) => {
    const shown = line.points.filter((point) => figure.of(point) !== null);
    if (shown.length === 0) return;
    const path = shown.map((point) => `${x(point.at_s).toFixed(1)},${y(figure.of(point)).toFixed(1)}`).join(' ');
    svg.append(s('polyline', { class: `series s${at % 3}`, points: path }));
    const end = shown.at(-1);
    svg.append(s('circle', { class: `dot s${at % 3}`, cx: x(end.at_s), cy: y(figure.of(end)), r: 3 }));
  });
  return h('figure', null, h('figcaption', null, h('b', null, figure.name), ` ${latest.join(' · ')} ${figure.unit}`), svg);
}
