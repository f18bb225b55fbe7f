// The few things that are done to the document again and again.

export function find(id) {
  return document.getElementById(id);
}

// Text is set, never parsed: names come from requests.
export function setText(target, text) {
  const element = typeof target === "string" ? find(target) : target;
  if (element.textContent !== text) element.textContent = text;
}

export function toggle(id, shown) {
  find(id).hidden = !shown;
}

export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  const { dataset, attributes, ...own } = properties;
  Object.assign(element, own);
  Object.assign(element.dataset, dataset);
  for (const [name, value] of Object.entries(attributes ?? {})) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

export function makeSvg(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// Brings the rows of a table body into line with entries, reusing what is there.
export function fillRows(body, entries, keyOf, makeRow, updateRow) {
  const rows = new Map(Array.from(body.rows, (row) => [row.dataset.key, row]));
  const wanted = entries.map((entry) => {
    const key = String(keyOf(entry));
    const row = rows.get(key) ?? makeRow(entry);
    row.dataset.key = key;
    updateRow?.(row, entry);
    return row;
  });
  const same = wanted.length === body.rows.length && wanted.every((row, i) => row === body.rows[i]);
  if (!same) body.replaceChildren(...wanted);
}
