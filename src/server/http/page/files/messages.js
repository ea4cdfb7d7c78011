// The SIP messages of a call as text, once somebody wants to read them: a token needs the scope `record`.

import { h, setText } from './dom.js';
import * as api from './api.js';

const firstLine = (text) => text.slice(0, text.indexOf('\r\n'));

function row(message) {
  const way = message.sent ? '→' : '←';
  return h('details', null,
    h('summary', null, `${(message.at_ms / 1000).toFixed(3)} s ${way} ${message.remote} ${message.transport}: ${firstLine(message.text)}`),
    h('pre', { tabindex: '0' }, message.text));
}

export function messages(call) {
  const list = h('div');
  const note = h('p', { class: 'faint' });
  const element = h('details', { class: 'messages', ontoggle: () => read() }, h('summary', null, 'SIP messages'), note, list);
  let shown = 0;
  let seen = -1;
  let at = 0;

  async function read() {
    if (!element.open || seen === at) return;
    seen = at;
    try {
      const all = (await api.get(`calls/${call}/messages`)).messages;
      // Those that are there keep their place, and stay open.
      list.append(...all.slice(shown).map(row));
      shown = all.length;
      setText(note, '→ sent by b2b, ← received. Digests of passwords and keys of SRTP are covered; Save PCAP has the octets.');
    } catch (error) {
      setText(note, error.message);
    }
  }

  return {
    element,
    /** `records`: how much has happened in the call. */
    refresh(records) {
      at = records;
      read();
    },
  };
}
