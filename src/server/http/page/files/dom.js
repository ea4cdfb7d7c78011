// Creates and changes elements. Text is set as text, never as markup: numbers and names are
// untrusted input.

const SVG = 'http://www.w3.org/2000/svg';

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
  return element;
}

/** An HTML element; children are elements or text. */
export const h = (tag, props, ...children) => fill(document.createElement(tag), props, children);

/** An SVG element. */
export const s = (tag, props, ...children) => fill(document.createElementNS(SVG, tag), props, children);

export const byId = (id) => document.getElementById(id);

/** Sets an element's text if it differs. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A duration: 4 s, 3:07, 2:03:07. */
export function span(seconds) {
  const all = Math.max(0, Math.floor(seconds));
  if (all < 60) return `${all} s`;
  const two = (n) => String(n).padStart(2, '0');
  const [hours, minutes, rest] = [Math.floor(all / 3600), Math.floor(all / 60) % 60, all % 60];
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

/** A size, like 234.5 MB. */
export function bytes(count) {
  for (const [unit, size] of [['GB', 1e9], ['MB', 1e6], ['kB', 1e3]]) {
    if (count >= size) return `${(count / size).toFixed(1)} ${unit}`;
  }
  return `${count} B`;
}

export const count = (number) => Number(number).toLocaleString('en-US', { maximumFractionDigits: 1 });

/** The time of day. */
export const clock = (at) => new Date(at).toLocaleTimeString(undefined, { hour12: false });

/** The time of day, with the date unless it is today. */
export const dayOf = (at) => {
  const day = new Date(at);
  return day.toDateString() === new Date().toDateString() ? clock(at) : `${day.toLocaleDateString()} ${clock(at)}`;
};

/** An identifier as words. */
export const words = (name) => String(name ?? '').replaceAll('_', ' ');

/** A state with a mark, because colour must not be the only sign. */
export function badge(kind, text) {
  const marks = { good: '●', warn: '▲', bad: '✕', idle: '○', note: '◆' };
  return h('span', { class: `badge ${kind}` }, h('span', { 'aria-hidden': 'true' }, marks[kind] || '○'), ' ', text);
}

let told;
/** Shows a message for eight seconds; screen readers announce it. */
export function say(text, bad) {
  const place = byId('said');
  clearTimeout(told);
  place.replaceChildren(h('p', { class: bad ? 'bad' : 'good' }, `${bad ? '✕' : '✓'} ${text}`));
  told = setTimeout(() => place.replaceChildren(), 8000);
}

/** Answers the open question. */
let answerOpen = null;
/** Asks for confirmation of an action that cannot be undone; resolves to whether the user confirmed. */
export function confirmed(title, text, yes) {
  const dialog = byId('ask');
  answerOpen?.(false);
  setText(byId('ask-title'), title);
  setText(byId('ask-text'), text);
  setText(byId('ask-yes'), yes);
  dialog.showModal();
  return new Promise((answer) => {
    const listening = new AbortController();
    answerOpen = (taken) => {
      listening.abort();
      answerOpen = null;
      answer(taken);
    };
    const { signal } = listening;
    dialog.querySelector('form').addEventListener('submit', (event) => answerOpen(event.submitter?.value === 'yes'), { signal });
    // `close` fires after the dialog has closed: the next question may be open by then.
    dialog.addEventListener('close', () => { if (!dialog.open) answerOpen(false); }, { signal });
  });
}
