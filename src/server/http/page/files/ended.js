// Ended calls from the server's store, filtered by party, result and audio.

import { badge, dayOf, h, say, setText, span } from './dom.js';
import * as api from './api.js';
import { numberOf, withName } from './names.js';
import { table } from './table.js';

const SHOWN = 25;
const MOST = 1000;
/** Minimum time between two reads, however often calls begin and end. */
const REST_MS = 3000;
/** A lower MOS is poor (G.107: "many users dissatisfied"). */
export const POOR_MOS = 3.6;

const KINDS = { answered: 'good', no_answer: 'idle', cancelled: 'idle', busy: 'warn', failed: 'bad' };
const AUDIO = { both_ways: 'both ways', only_from_caller: 'callee not heard', only_from_callee: 'caller not heard', nobody: 'none',
  lossy: 'much lost' };

function audio(call) {
  if (!call.audio || call.audio === 'not_judged') return '–';
  if (call.audio !== 'both_ways') return { badge: () => badge('bad', AUDIO[call.audio]), sign: call.audio };
  const poor = call.mos !== null && call.mos < POOR_MOS;
  return poor ? { badge: () => badge('warn', 'both ways'), sign: 'poor' } : AUDIO.both_ways;
}

/** The result of a call; with the cause if it failed. */
function result(call) {
  const word = call.disposition.replace('_', ' ');
  const text = call.disposition === 'failed' ? `${word}: ${call.cause.replaceAll('_', ' ').toLowerCase()}` : word;
  return { badge: () => badge(KINDS[call.disposition] || 'note', text), sign: text };
}

export function endedCalls() {
  const list = table('Ended calls, latest first',
    ['call', 'began', 'from', 'to', 'talked', 'result', 'ended by', 'audio', 'MOS', 'route', 'gateway', 'recording'],
    { empty: 'No matching calls.' });
  let typing;
  const changed = () => {
    clearTimeout(typing);
    typing = setTimeout(() => { read = 0; refresh(); }, 300);
  };
  const party = h('input', {
    type: 'search', placeholder: 'number or name', 'aria-label': 'Party of ended calls', spellcheck: 'false', autocomplete: 'off', oninput: changed,
  });
  const which = h('select', { 'aria-label': 'Which ended calls', onchange: changed },
    [['', 'all'], ['audio=fault', 'one-way, no or bad audio'], [`mos_below=${POOR_MOS}`, 'poor MOS'],
      ...Object.keys(KINDS).map((it) => [`disposition=${it}`, it.replace('_', ' ')])].map(([value, text]) => h('option', { value }, text)));
  const since = h('input', {
    type: 'datetime-local', 'aria-label': 'Ended calls that began at this time or later', title: 'began at this time or later', onchange: changed,
  });
  const player = h('audio', { controls: true, hidden: true });
  const figure = h('p', { class: 'figure', role: 'status' });
  const more = h('button', { type: 'button', onclick: () => { shown = Math.min(shown + 4 * SHOWN, MOST); changed(); } }, 'Show more');
  let turns = 0;
  let shown = SHOWN;
  let read = 0;

  /** Actions for the call's recording; its path is the file's folder and name. */
  function recorded(call) {
    if (!call.recording) return [];
    const path = `recordings/${call.recording.split('/').slice(-2).map(encodeURIComponent).join('/')}`;
    const said = (act) => act.catch((error) => say(error.message, true));
    return [
      { text: 'Play', label: `Play the recording of call ${call.call}`, act: () => said(play(path)) },
      { text: 'Save', label: `Save the recording of call ${call.call}`, act: () => said(api.save(path, call.recording.split('/').pop())) },
    ];
  }

  async function play(path) {
    URL.revokeObjectURL(player.src);
    player.src = await api.blobUrl(path);
    player.hidden = false;
    await player.play();
  }

  async function refresh() {
    if (Date.now() - read < REST_MS) return;
    read = Date.now();
    const asked = [`limit=${shown}`, which.value, party.value && `party=${encodeURIComponent(party.value)}`,
      since.value && `since=${new Date(since.value).toISOString().slice(0, 19)}Z`].filter(Boolean);
    const turn = ++turns;
    let found;
    try {
      found = await api.get(`calls/ended?${asked.join('&')}`, null);
    } catch (error) {
      return setText(figure, error.message);
    }
    // Ignores the response of an earlier request that arrives late.
    if (turn !== turns) return;
    element.hidden = found === null;
    if (found === null) return;
    setText(figure, `${found.calls.length} shown, ${found.total} kept`);
    more.hidden = found.next === undefined || shown === MOST;
    list.update(found.calls.map((call) => ({
      key: call.id,
      cells: [
        call.account ? { text: String(call.call), href: `#call/${call.call}` } : String(call.call),
        dayOf(call.began), call.from_name ? `${call.from} (${call.from_name})` : call.from,
        [...new Set([call.to, numberOf(call.called)].filter(Boolean))].map((party) => withName(party, !call.gateway_out && party)).join(' → '),
        call.talk_ms === null ? '–' : span(call.talk_ms / 1000), result(call), call.ended_by, audio(call),
        call.mos === null ? '–' : call.mos.toFixed(2), call.route || '–', [call.gateway_in, call.gateway_out].filter(Boolean).join(' → ') || '–',
        { buttons: recorded(call) },
      ],
    })));
  }

  const element = h('section', { class: 'ended', hidden: true },
    h('div', { class: 'bar' }, h('h3', null, 'Ended calls'), figure, h('label', { class: 'filter' }, party), since, which), player, list.element, more);
  function gone() {
    player.pause();
    URL.revokeObjectURL(player.src);
    player.removeAttribute('src');
    player.hidden = true;
  }

  return { element, refresh, gone };
}
