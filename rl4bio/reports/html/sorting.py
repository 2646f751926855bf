"""The one script of a page: tables that sort by a click on a heading, and a filter for their rows.

It stands under its hash in the page's content security policy, makes its controls itself (without
scripts there are none that do nothing), reads the text of cells, and writes text alone.
"""

from __future__ import annotations

SORTABLE = "sortable"
"""Class of a table whose rows may be sorted."""
FILTERED = "filtered"
"""Class of a table that gets a filter: words, and the values of headings of the class `choose`.

A row that links to a part of the page (`#case-3`) hides that part with itself.
"""

STYLE = """
.filter { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: center; margin: .6rem 0; }
.filter input, .filter select { font: inherit; font-size: .9rem; padding: .25rem .5rem;
  color: inherit; background: var(--paper); border: 1px solid var(--edge); border-radius: .3rem;
  max-width: 100%; }
.filter input { flex: 1 1 12rem; } .filter output { color: var(--muted); font-size: .9rem; }
.sortable th button { font: inherit; font-weight: 600; color: inherit; background: none; border: 0;
  padding: 0; cursor: pointer; text-align: left; }
.sortable th button::after { content: " \\2195"; color: var(--muted); font-weight: 400; }
.sortable th[aria-sort=ascending] button::after { content: " \\2191"; }
.sortable th[aria-sort=descending] button::after { content: " \\2193"; }
[hidden] { display: none; }
@media print { .filter { display: none; } .sortable th button::after { content: ""; } }
"""

SCRIPT = """
(() => {
  const told = cell => cell.textContent.trim();
  const number = words => {
    const plain = words.replace(/\\u2212/g, '-').replace(/,/g, '');
    return /^-?[0-9.]+/.test(plain) ? parseFloat(plain) : NaN;
  };
  const missing = words => words === '' || words === '\\u2013';
  const compared = (a, b) => {
    const x = number(a), y = number(b);
    return x === x && y === y ? x - y : a.localeCompare(b);
  };
  const sorts = table => {
    const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
    heads.forEach((head, n) => {
      if (!told(head)) return;
      const button = document.createElement('button');
      button.type = 'button';
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener('click', () => {
        const down = head.getAttribute('aria-sort') === 'ascending';
        heads.forEach(other => other.removeAttribute('aria-sort'));
        head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
        const rows = [...table.tBodies[0].rows].map(row => [told(row.cells[n]), row]);
        rows.sort(([a], [b]) => missing(a) || missing(b) ? missing(a) - missing(b)
          : (down ? -1 : 1) * compared(a, b));
        table.tBodies[0].append(...rows.map(([, row]) => row));
      });
    });
  };
  const filters = table => {
    const rows = [...table.tBodies[0].rows];
    const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
    const bar = document.createElement('div');
    const words = document.createElement('input');
    const count = document.createElement('output');
    bar.className = 'filter';
    words.type = 'search';
    words.placeholder = 'Filter by words';
    words.setAttribute('aria-label', 'Filter by words');
    bar.append(words);
    const chosen = heads.flatMap((head, n) => {
      if (!head.classList.contains('choose')) return [];
      const select = document.createElement('select');
      const values = new Map();
      rows.map(row => told(row.cells[n]))
        .forEach(value => values.set(value, (values.get(value) || 0) + 1));
      select.setAttribute('aria-label', told(head));
      select.add(new Option(`${told(head)}: all`, ''));
      values.forEach((many, value) => select.add(new Option(`${value} (${many})`, value)));
      bar.append(select);
      return [[n, select]];
    });
    bar.append(count);
    const parts = rows.map(row => [...row.querySelectorAll('a[href^="#"]')]
      .map(link => document.getElementById(link.getAttribute('href').slice(1))));
    const texts = rows.map((row, n) =>
      [row, ...parts[n]].map(part => part ? part.textContent : '').join(' ').toLowerCase());
    const apply = () => {
      const wanted = words.value.toLowerCase().split(/\\s+/).filter(Boolean);
      let shown = 0;
      rows.forEach((row, n) => {
        const fits = wanted.every(word => texts[n].includes(word)) &&
          chosen.every(([k, select]) => !select.value || told(row.cells[k]) === select.value);
        [row, ...parts[n]].forEach(part => { if (part) part.hidden = !fits; });
        shown += fits;
      });
      count.textContent = `${shown} of ${rows.length}`;
    };
    bar.addEventListener('input', apply);
    (table.closest('.wide') || table).before(bar);
    apply();
  };
  document.querySelectorAll('table.filtered').forEach(filters);
  document.querySelectorAll('table.sortable').forEach(sorts);
})();
"""
