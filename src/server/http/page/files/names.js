// What parties are called: the numbers in their URIs, and the display names of users.

import * as api from './api.js';

const AGAIN_MS = 60000;
let names = new Map();
let read = -AGAIN_MS;

/** The number or user name of a URI. */
export const numberOf = (uri) => String(uri ?? '').replace(/^(sips?|tel):/, '').split(/[@;?]/)[0];

/** Reads the names of the first 1,000 users, once a minute. */
export async function readNames() {
  if (performance.now() - read < AGAIN_MS) return;
  read = performance.now();
  try {
    const { users } = await api.get('users?limit=1000', { users: [] });
    names = new Map(users.filter((user) => user.display_name)
      .flatMap((user) => [user.name, ...user.aliases].map((number) => [number, user.display_name])));
  } catch { /* numbers do without names */ }
}

/**
 * A party with the display name of its user, if that has one, and other remarks. `user` is one that the server knows: a
 * caller from elsewhere can claim any number.
 */
export function withName(party, user, ...remarks) {
  const known = [names.get(user), ...remarks].filter(Boolean);
  return known.length ? `${party} (${known.join(', ')})` : party;
}
