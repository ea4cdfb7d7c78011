// The form that starts a call, for tokens that permit it.

import { h, say, setText } from './dom.js';
import * as api from './api.js';
import { field } from './form.js';

/** One target, or an array of comma-separated ones. */
const targets = (text) => {
  const all = text.split(',').map((it) => it.trim()).filter(Boolean);
  return all.length === 1 ? all[0] : all;
};

export function beginCall() {
  const [from, to, caller, ring] = [
    field('First call', { required: true, placeholder: 'user/1001' }),
    field('Then join with', { required: true, placeholder: 'gateway/carrier/+442079460123' }),
    field('Number shown (optional)', { inputmode: 'tel' }),
    field('Ring for seconds (optional)', { type: 'number', min: '1', max: '3600' }),
  ];
  const problem = h('p', { class: 'problem', role: 'alert' });
  let busy = false;

  async function begin(event) {
    event.preventDefault();
    if (busy) return;
    busy = true;
    setText(problem, '');
    try {
      const body = { from: targets(from.value), to: targets(to.value) };
      if (caller.value) body.caller = caller.value;
      if (ring.value) body.ring_s = Number(ring.value);
      const { call } = await api.act('POST', 'calls', body);
      say(`Call ${call} has begun`);
      location.hash = `call/${call}`;
    } catch (error) {
      setText(problem, error.message);
    }
    busy = false;
  }

  const element = h('details', { hidden: true }, h('summary', null, 'Start a call'),
    h('p', { class: 'faint' }, 'Targets are those of routes: user/1001, gateway/carrier/+44…, group/sales, or a SIP URI; several with commas between them ring one after the other.'),
    h('form', { class: 'fields', onsubmit: begin }, from.element, to.element, caller.element, ring.element, h('button', null, 'Call')), problem);
  let looked = false;
  return {
    element,
    /** Shows the form if the token has the scope `calls`. */
    async look() {
      if (looked) return;
      const token = await api.get('token', null);
      looked = true;
      element.hidden = !token?.scopes.includes('calls');
    },
    open() {
      if (element.hidden) return;
      element.open = true;
      from.focus();
    },
  };
}
