// The SIP messages of a call as text, read when the list is opened: the token needs the scope `record`.

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
  const rows = new Map();
  let reading = false;
  let seen = -1;
  let at = 0;

  async function read() {
    if (!element.open || seen === at || reading) return;
    reading = true;
    const now = at;
    try {
      const answer = await api.get(`calls/${call}/messages`);
      const all = answer.messages;
      // Rows are reused, so open ones stay open; the server keeps the first and latest messages of a long call.
      const keys = all.map((it) => `${it.at_ms} ${it.sent} ${it.remote}`);
      for (const key of rows.keys()) if (!keys.includes(key)) rows.delete(key);
      list.replaceChildren(...all.map((it, n) => {
        if (!rows.has(keys[n])) rows.set(keys[n], row(it));
        return rows.get(keys[n]);
      }));
      seen = now;
      const left = answer.messages_left_out ? ` ${answer.messages_left_out} messages after the first ones are not stored.` : '';
      setText(note, `→ sent by b2b, ← received.${left} Password digests and SRTP keys are masked; Save PCAP has the original octets.`);
    } catch (error) {
      setText(note, error.message);
    }
    reading = false;
  }

  return {
    element,
    /** `records`: the number of records in the call's timeline. */
    refresh(records) {
      at = records;
      read();
    },
  };
}
