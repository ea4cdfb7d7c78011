// The routes in their order, and the route that a call would take.

import { h, setText } from './dom.js';
import * as api from './api.js';
import { field } from './form.js';
import { table } from './table.js';

export function routesView() {
  const list = table('Routes, in the order in which they are asked', ['#', 'route', 'matches', 'leads to', 'line'], { empty: 'No route is configured.' });
  const [called, from, source] = [
    field('Number called', { required: true, inputmode: 'tel' }),
    field('From (a user or a number)', {}),
    field('Source address', { placeholder: '192.0.2.7' }),
  ];
  const answer = h('pre', { class: 'explained', tabindex: '0', hidden: true, 'aria-label': 'Which way the call would take' });
  const figure = h('p', { class: 'figure', role: 'status' });

  async function ask(event) {
    event.preventDefault();
    const asked = Object.entries({ called: called.value, from: from.value, source: source.value })
      .filter(([, value]) => value).map(([name, value]) => `${name}=${encodeURIComponent(value)}`);
    try {
      const { lines } = await api.get(`routes/explain?${asked.join('&')}`);
      setText(answer, lines.join('\n'));
      answer.hidden = false;
      // The decision, for screen readers.
      setText(figure, lines.slice(lines.lastIndexOf('') + 1).join('; ').replace(/ +/g, ' '));
    } catch (error) {
      answer.hidden = true;
      setText(figure, error.message);
    }
  }

  return {
    title: 'Routes',
    element: h('section', null,
      h('div', { class: 'bar' }, h('h2', null, 'Routes')), list.element,
      h('h3', null, 'Try a number'),
      h('form', { class: 'fields', onsubmit: ask }, called.element, from.element, source.element, h('button', null, 'Explain')),
      figure, answer),
    async refresh() {
      const { routes } = await api.get('routes');
      list.update(routes.map((route, at) => ({
        key: at, cells: [String(at + 1), route.name, route.matches, route.leads_to, String(route.line)],
      })));
    },
    everyMs: 5000,
    wants: (event) => event.type === 'reloaded',
    focus: list.focus,
  };
}
