// Adds to mdBook's theme what assistive technology and keyboard users need.
(() => {
  'use strict';
  document.getElementById('mdbook-menu-bar')?.setAttribute('role', 'banner');
  // The label of a hidden checkbox opens the contents; the keyboard cannot reach it, so a button clicks it.
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
  // An empty corner cell of a table is not a heading.
  for (const it of document.querySelectorAll('th:empty')) it.replaceWith(document.createElement('td'));
  // Makes elements that scroll sideways focusable, so that they scroll by keyboard, too.
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
