// Beside mdBook's script: what assistive technology and the keyboard need of its theme.
(() => {
  'use strict';
  document.getElementById('mdbook-menu-bar')?.setAttribute('role', 'banner');
  // The contents are opened by the label of a hidden checkbox, which no keyboard reaches: a button presses it.
  const label = document.getElementById('mdbook-sidebar-toggle');
  const contents = document.getElementById('mdbook-sidebar');
  if (label && contents) {
    const button = document.createElement('button');
    button.type = 'button';
    button.className = label.className;
    button.title = label.title;
    button.setAttribute('aria-label', label.title);
    button.setAttribute('aria-controls', contents.id);
    button.append(...label.childNodes);
    button.addEventListener('click', () => label.click());
    const shown = () => button.setAttribute('aria-expanded', String(contents.getAttribute('aria-hidden') !== 'true'));
    new MutationObserver(shown).observe(contents, { attributes: true, attributeFilter: ['aria-hidden'] });
    shown();
    label.style.display = 'none';
    label.before(button);
  }
  // A corner of a table heads nothing.
  for (const it of document.querySelectorAll('th:empty')) it.replaceWith(document.createElement('td'));
  // What scrolls sideways does so by keyboard, too.
  const scrolling = () => {
    for (const it of document.querySelectorAll('pre > code, .table-wrapper')) {
      const scrolls = it.scrollWidth > it.clientWidth;
      it.classList.toggle('scrolls', scrolls);
      if (scrolls) it.tabIndex = 0;
      else it.removeAttribute('tabindex');
    }
  };
  scrolling();
  window.addEventListener('load', scrolling);
  window.addEventListener('resize', scrolling);
})();
