// Tables that keep their row elements when the content changes, so focus, selection and reading
// position survive every refresh. On a narrow screen a row is a card (page.css).

import { h, setText } from './dom.js';

function cellContent(cell) {
  if (cell.badge) return cell.badge();
  if (cell.href) return h('a', { href: cell.href }, cell.text);
  if (cell.buttons) {
    return h('span', { class: 'row' }, cell.buttons.map((it) =>
      h('button', { type: 'button', onclick: it.act, 'aria-label': it.label, disabled: it.off }, it.text)));
  }
  return document.createTextNode(cell.text);
}

const normal = (cell) => (cell !== null && typeof cell === 'object' ? cell : { text: String(cell ?? '') });
const sign = (cell) =>
  JSON.stringify([cell.text, cell.href, cell.sign, cell.buttons?.map((it) => [it.text, it.label, !!it.off])]);

/**
 * A table. `columns`: headings; `open`: called on Enter or a click on a row. `update` takes rows
 * `{ key, cells }`: a cell is text, or `{ text, href }`, `{ badge, sign }`, `{ buttons }`.
 */
export function table(caption, columns, { open, empty = 'nothing' } = {}) {
  const body = h('tbody');
  const none = h('p', { class: 'empty' }, empty);
  const element = h('table', { class: 'list' }, h('caption', null, caption),
    h('thead', null, h('tr', null, columns.map((name) => h('th', { scope: 'col' }, name)))), body);
  const rows = new Map();
  let order = [];

  function make(key) {
    const row = h('tr', { 'data-key': key, tabindex: '-1' }, columns.map((name) => h('td', { 'data-label': name })));
    row.signs = [];
    rows.set(key, row);
    return row;
  }

  function update(list) {
    const seen = new Set();
    let before = null;
    for (const { key, cells } of list) {
      const name = String(key);
      seen.add(name);
      const row = rows.get(name) || make(name);
      cells.map(normal).forEach((cell, at) => {
        const now = sign(cell);
        if (row.signs[at] === now) return;
        const place = row.cells[at];
        const plain = !cell.badge && !cell.href && !cell.buttons;
        if (plain && row.signs[at] !== undefined && place.firstChild?.nodeType === 3) setText(place, cell.text);
        else place.replaceChildren(cellContent(cell));
        row.signs[at] = now;
      });
      const next = before ? before.nextSibling : body.firstChild;
      if (next !== row) body.insertBefore(row, next);
      before = row;
    }
    for (const [name, row] of rows) {
      if (seen.has(name)) continue;
      const had = row.contains(document.activeElement);
      const heir = row.nextSibling || row.previousSibling;
      row.remove();
      rows.delete(name);
      if (had) heir?.focus();
    }
    order = [...body.rows];
    none.hidden = order.length > 0;
    element.hidden = order.length === 0;
    if (!order.some((row) => row.tabIndex === 0) && order[0]) order[0].tabIndex = 0;
  }

  function move(to) {
    const row = order[Math.min(Math.max(to, 0), order.length - 1)];
    if (!row) return;
    for (const other of order) other.tabIndex = -1;
    row.tabIndex = 0;
    row.focus();
  }

  body.addEventListener('keydown', (event) => {
    const at = order.indexOf(event.target.closest('tr'));
    if (at < 0 || event.ctrlKey || event.altKey || event.metaKey) return;
    const steps = { ArrowDown: at + 1, j: at + 1, ArrowUp: at - 1, k: at - 1, Home: 0, End: order.length - 1 };
    if (event.key in steps) {
      event.preventDefault();
      move(steps[event.key]);
    } else if (event.key === 'Enter' && event.target === order[at] && open) {
      event.preventDefault();
      open(order[at].dataset.key);
    }
  });
  if (open) {
    body.addEventListener('click', (event) => {
      const row = event.target.closest('tr');
      if (row && !event.target.closest('a, button')) open(row.dataset.key);
    });
    element.classList.add('opens');
  }
  return { element: h('div', null, element, none), update, focus: () => move(order.findIndex((row) => row.tabIndex === 0)) };
}
