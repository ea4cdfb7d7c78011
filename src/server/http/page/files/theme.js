// Runs before the first paint, so that a dark page does not flash white.
'use strict';
(() => {
  let wish = null;
  try { wish = localStorage.getItem('b2b.theme'); } catch { /* the browser has no storage */ }
  if (wish === 'dark' || wish === 'light') document.documentElement.dataset.theme = wish;
})();
