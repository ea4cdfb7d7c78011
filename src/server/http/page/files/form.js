// Form fields, each with its label.

import { h } from './dom.js';

let made = 0;

/** A field with a label; `value` is its trimmed text. */
export function field(label, props) {
  const id = `field-${++made}`;
  const input = h('input', { id, autocomplete: 'off', spellcheck: 'false', ...props });
  return {
    element: h('div', { class: 'field' }, h('label', { for: id }, label), input),
    focus: () => input.focus(),
    get value() { return input.value.trim(); },
  };
}
