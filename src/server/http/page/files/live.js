// Live events: the WebSocket `/events`, resumed after the last event that was received. While
// it is unavailable, the views poll.

import { clock } from './dom.js';
import * as api from './api.js';

const RETRY_MS = [300, 700, 1500, 3000, 5000];
/** Time between two attempts to open the WebSocket while polling. */
const AGAIN_MS = 15000;

export const live = {
  /** connecting, live, polling, or off: the server does not answer. */
  state: 'connecting',
  since: Date.now(),
  /** The latest events, newest first. */
  latest: [],
};

const listeners = { event: [], state: [], stale: [] };
let last = null;
let failures = 0;

/** `event`: an event arrived; `state`: the link changed; `stale`: the view must be read again. */
export const on = (what, act) => listeners[what].push(act);
const tell = (what, value) => listeners[what].forEach((act) => act(value));

function state(now) {
  if (live.state === now) return;
  live.state = now;
  live.since = Date.now();
  tell('state', now);
}

/** The state of the link: its mark and its words. */
export function linkWords() {
  switch (live.state) {
    case 'live': return ['●', 'live'];
    case 'polling': return ['◐', 'polling: no live events'];
    case 'off': return ['✕', `disconnected since ${clock(live.since)}, trying again`];
    default: return ['…', 'connecting'];
  }
}

async function answers() {
  // Any status will do: the server answers 503 while it stops.
  try {
    await fetch('healthz', { cache: 'no-store', signal: AbortSignal.timeout(5000) });
    return true;
  } catch {
    return false;
  }
}

function take(event) {
  if (event.type === 'lost') return tell('stale');
  last = event.seq;
  live.latest.unshift(event);
  live.latest.length = Math.min(live.latest.length, 200);
  tell('event', event);
}

function connect() {
  const resumed = last !== null;
  const socket = api.socket(resumed ? `events?after=${last}` : 'events');
  let opened = false;
  socket.onopen = () => {
    opened = true;
    failures = 0;
    state('live');
    // Everything may have changed before a new connection's first event.
    if (!resumed) tell('stale');
  };
  socket.onmessage = (message) => take(JSON.parse(message.data));
  socket.onclose = async () => {
    if (opened) state('connecting');
    failures += 1;
    const there = await answers();
    if (!there) state('off');
    // The server answers but refuses to resume: the sequence number is from an earlier run.
    if (there && !opened && resumed) {
      last = null;
      failures = 0;
    }
    const lame = there && failures > 2;
    if (lame) state('polling');
    setTimeout(connect, lame ? AGAIN_MS : RETRY_MS[Math.min(failures, RETRY_MS.length - 1)]);
  };
}

/** Connects; to be called once. */
export function begin() {
  connect();
}

/** The interval at which a view is read again without an event. */
export const everyMs = () => (live.state === 'live' ? 5000 : 2000);
