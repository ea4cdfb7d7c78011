// What happens, as it happens: the WebSocket `/events`, taken up behind the last event that was
// seen; where it cannot be had, whoever shows something polls.

import { clock } from './dom.js';
import * as api from './api.js';

const RETRY_MS = [300, 700, 1500, 3000, 5000];
/** While polling, how often the WebSocket is tried again. */
const AGAIN_MS = 15000;

export const live = {
  /** connecting, live, polling, or off: nothing answers. */
  state: 'connecting',
  since: Date.now(),
  /** The latest events, newest first. */
  latest: [],
};

const listeners = { event: [], state: [], stale: [] };
let last = null;
let failures = 0;

/** `event`: one came; `state`: the link changed; `stale`: whatever is shown is to be read anew. */
export const on = (what, act) => listeners[what].push(act);
const tell = (what, value) => listeners[what].forEach((act) => act(value));

function state(now) {
  if (live.state === now) return;
  live.state = now;
  live.since = Date.now();
  tell('state', now);
}

/** In words. */
export function linkWords() {
  switch (live.state) {
    case 'live': return ['●', 'live'];
    case 'polling': return ['◐', 'polling: no live events'];
    case 'off': return ['✕', `disconnected since ${clock(live.since)}, trying again`];
    default: return ['…', 'connecting'];
  }
}

async function answers() {
  // Whatever it says: it is there. Stopping is 503.
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
    // Before the first event of a new connection everything may have changed.
    if (!resumed) tell('stale');
  };
  socket.onmessage = (message) => take(JSON.parse(message.data));
  socket.onclose = async () => {
    if (opened) state('connecting');
    failures += 1;
    const there = await answers();
    if (!there) state('off');
    // It answers, but not to this: that number is of an earlier run of the server.
    if (there && !opened && resumed) {
      last = null;
      failures = 0;
    }
    const lame = there && failures > 2;
    if (lame) state('polling');
    setTimeout(connect, lame ? AGAIN_MS : RETRY_MS[Math.min(failures, RETRY_MS.length - 1)]);
  };
}

/** Begins; to be called once. */
export function begin() {
  connect();
}

/** How often a view reads anew although nothing was told. */
export const everyMs = () => (live.state === 'live' ? 5000 : 2000);
