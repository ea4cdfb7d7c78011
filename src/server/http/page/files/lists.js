// Lists: queues, agents, rooms, parking, registrations, gateways.

import { badge, count, h, say, setText, span, words } from './dom.js';
import * as api from './api.js';
import { numberOf, withName } from './names.js';
import { table } from './table.js';

const callCell = (call) => (call === null || call === undefined ? '' : { text: String(call), href: `#call/${call}` });

/** A view of lists below one title. */
function view(title, parts, refresh, wants) {
  const problem = h('p', { class: 'empty', hidden: true });
  const element = h('section', null, h('div', { class: 'bar' }, h('h2', null, title)), problem, parts);
  // A caption that repeats the title is for screen readers only.
  for (const caption of element.querySelectorAll('caption')) caption.classList.toggle('said', caption.textContent === title);
  return {
    title,
    element,
    refresh,
    wants,
    problem,
  };
}

/** Says that the server does not report this kind, because it has none or is too old. */
function absent(it, found, what) {
  it.problem.hidden = found !== null;
  if (found === null) setText(it.problem, `This server does not report ${what}.`);
}

export function queuesView() {
  const queues = table('Queues', ['queue', 'waiting', 'longest wait', 'goal', 'service level', 'estimated wait', 'answered', 'abandoned', 'agents'],
    { empty: 'No queue is configured.' });
  const callers = table('Waiting callers', ['queue', 'position', 'number', 'waited', 'stage', 'ringing', 'call'],
    { open: (key) => { location.hash = `call/${key}`; }, empty: 'No caller is waiting.' });
  let seen = [];
  let at = 0;
  const draw = () => {
    const later = (Date.now() - at) / 1000;
    const waited = (caller) => span(caller.waited_s + later);
    queues.update(seen.map((queue) => {
      const longest = queue.longest_wait_s + (queue.waiting ? later : 0);
      const late = queue.waiting > 0 && queue.goal_s !== undefined && longest > queue.goal_s;
      return {
        key: queue.name,
        cells: [queue.name, count(queue.waiting), late ? { badge: () => badge('warn', `${span(longest)}, over the goal`), sign: span(longest) } : span(longest),
          queue.goal_s === undefined ? '–' : span(queue.goal_s), queue.service_level === null ? '–' : `${(100 * queue.service_level).toFixed(0)} %`,
          queue.estimate_s === null ? 'unknown' : span(queue.estimate_s), count(queue.counters.answered),
          count(queue.counters.abandoned + queue.counters.timed_out), queue.agents.join(', ')],
      };
    }));
    callers.update(seen.flatMap((queue) => queue.callers.map((caller) => ({
      key: caller.call ?? `${queue.name}/${caller.position}`,
      cells: [queue.name, String(caller.position), caller.number, waited(caller), words(caller.stage), caller.ringing.join(', '), callCell(caller.call)],
    }))));
  };
  const it = view('Queues', [queues.element, callers.element], async () => {
    seen = (await api.get('queues')).queues;
    at = Date.now();
    draw();
  }, (event) => event.app === 'queue');
  return { ...it, tick: draw, focus: callers.focus };
}

export function agentsView() {
  const kinds = { available: 'good', ringing: 'note', busy: 'note', wrap_up: 'idle', paused: 'warn', logged_out: 'idle' };
  const list = table('Agents', ['agent', 'state', 'since', 'phone', 'queues', 'skills', 'answered', 'missed', 'change'], { empty: 'No agent is configured.' });
  const to = (name, state, text) => ({
    text, label: `${text}: ${name}`,
    act: async () => {
      try {
        await api.act('PUT', `agents/${encodeURIComponent(name)}/state`, { state });
        say(`${name} is ${words(state)}`);
        await it.refresh();
      } catch (error) {
        say(error.message, true);
      }
    },
  });
  let seen = [];
  let at = 0;
  const draw = () => list.update(seen.map((agent) => ({
    key: agent.name,
    cells: [withName(agent.name, agent.name), { badge: () => badge(kinds[agent.state] || 'note', words(agent.state)), sign: agent.state }, span(agent.since_s + (Date.now() - at) / 1000),
      agent.reachable ? 'reachable' : { badge: () => badge('bad', 'not reachable'), sign: 'away' }, agent.queues.join(', '),
      (Array.isArray(agent.skills) ? agent.skills : Object.keys(agent.skills || {})).join(', '), count(agent.answered), count(agent.misses),
      { buttons: [to(agent.name, 'available', 'Available'), to(agent.name, 'paused', 'Pause'), to(agent.name, 'logged_out', 'Log out')] }],
  })));
  const it = view('Agents', [list.element], async () => {
    seen = (await api.get('agents')).agents;
    at = Date.now();
    draw();
  }, (event) => event.app === 'queue');
  return { ...it, tick: draw, focus: list.focus };
}

export function roomsView() {
  const rooms = table('Rooms', ['room', 'participants', 'limit', 'PIN', 'locked', 'recorded'], { empty: 'No room is configured.' });
  const members = table('Participants', ['room', 'number', 'role', 'audio', 'call'],
    { open: (key) => { location.hash = `call/${key.split('/')[0]}`; }, empty: 'No room has participants.' });
  const it = view('Rooms', [rooms.element, members.element], async () => {
    const found = await api.get('rooms', null);
    absent(it, found, 'rooms');
    const all = found?.rooms ?? [];
    rooms.update(all.map((room) => ({
      key: room.name,
      cells: [room.name, count(room.members.length), room.most === null ? 'no longer configured' : count(room.most),
        room.pin ? 'required' : 'none', room.locked ? 'locked' : 'open', room.recording ? 'recorded' : 'no'],
    })));
    members.update(all.flatMap((room) => room.members.map((member) => ({
      key: `${member.call}/${member.leg}`,
      cells: [room.name, member.number, member.moderator ? 'moderator' : 'participant',
        member.waits ? 'waits for a moderator' : member.muted ? 'muted' : `${member.volume_db} dB`, callCell(member.call)],
    }))));
  }, (event) => String(event.app).startsWith('conference/'));
  return { ...it, focus: members.focus };
}

export function parkingView() {
  const slots = table('Parked callers', ['slot', 'lot', 'number', 'parked by', 'call'],
    { open: (key) => { location.hash = `call/${key.split('/')[0]}`; }, empty: 'No caller is parked.' });
  const lots = table('Parking lots', ['lot', 'slots', 'taken'], { empty: 'No parking lot is configured.' });
  const it = view('Parking', [slots.element, lots.element], async () => {
    const found = await api.get('slots', null);
    absent(it, found, 'parking slots');
    const all = found?.lots ?? [];
    lots.update(all.map((lot) => ({ key: lot.name, cells: [lot.name, `${lot.first} to ${lot.last}`, `${lot.taken.length} of ${lot.last - lot.first + 1}`] })));
    slots.update(all.flatMap((lot) => lot.taken.map((slot) => ({
      key: `${slot.call}/${slot.slot}`, cells: [String(slot.slot), lot.name, slot.number, slot.by ?? 'unknown', callCell(slot.call)],
    }))));
  }, (event) => String(event.app).startsWith('park/'));
  return { ...it, focus: slots.focus };
}

export function registrationsView() {
  const list = table('Registered users', ['address of record', 'contact', 'from', 'transport', 'expires in', 'phone'], { empty: 'No user is registered.' });
  const figure = h('p', { class: 'figure', role: 'status' });
  const more = h('button', { type: 'button', hidden: true, onclick: () => next() }, 'Show more');
  let shown = 100;
  const absent = table('Users who are not registered', ['user', 'name', 'aliases', 'class'], { empty: 'Every user is registered.' });
  const it = view('Registrations', [figure, list.element, more, absent.element], async () => {
    const away = await api.get('users?registered=false');
    absent.update(away.users.map((user) => ({
      key: user.name, cells: [user.name, user.display_name || '', user.aliases.join(', '), user.class],
    })));
    const page = await api.get(`registrations?limit=${shown}`);
    setText(figure, `${count(page.bindings)} contacts`);
    more.hidden = page.next === undefined;
    list.update(page.registrations.flatMap((user) => user.contacts.map((contact) => ({
      key: `${user.aor} ${contact.contact} ${contact.remote}`,
      cells: [withName(user.aor, numberOf(user.aor)), contact.contact, contact.behind_nat ? `${contact.remote}, behind NAT` : contact.remote, contact.transport,
        span(contact.expires_s), contact.user_agent],
    }))));
  }, (event) => ['registered', 'unregistered'].includes(event.type));
  async function next() {
    shown = Math.min(shown + 200, 1000);
    await it.refresh();
  }
  return { ...it, focus: list.focus };
}

/** The state of a gateway; unknown without registration and without OPTIONS (options_s = 0). */
function fares(gateway) {
  if (!gateway.up) return ['bad', 'down'];
  return gateway.known ? ['good', 'up'] : ['idle', 'not monitored'];
}

export function gatewaysView() {
  const list = table('Gateways', ['gateway', 'takes calls', 'hosts', 'registration', 'channels', 'class'], { empty: 'No gateway is configured.' });
  const it = view('Gateways', [list.element], async () => {
    const found = await api.get('gateways', null);
    absent(it, found, 'gateways');
    list.update((found?.gateways ?? []).map((gateway) => {
      const own = gateway.registration;
      const registered = own === null ? 'off' : own.registered ? `registered${own.outbound ? ', outbound flow' : ''}` : `not registered: ${own.reason || own.status || 'no response yet'}`;
      return {
        key: gateway.name,
        cells: [gateway.name, { badge: () => badge(...fares(gateway)), sign: fares(gateway)[1] },
          gateway.hosts.map((host) => `${host.host} ${host.health}`).join(', '), registered,
          gateway.most === null ? count(gateway.channels) : `${gateway.channels} of ${gateway.most}`, words(gateway.class)],
      };
    }));
  }, (event) => String(event.type).startsWith('gateway_'));
  return { ...it, focus: list.focus };
}
