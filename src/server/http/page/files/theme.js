// Before the first picture: a page that turns dark late has blinded somebody by then.
'use strict';
(() => {
  let wish = null;
  try { wish = localStorage.getItem('b2b.theme'); } catch { /* a browser that keeps nothing */ }
  if (wish === 'dark' || wish === 'light') document.documentElement.dataset.theme = wish;
})();
