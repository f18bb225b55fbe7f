// The frontier as a heat map: each cell is a pair of limits, and says what it would have given.

import { find, make, setText } from "./dom.js";
import * as format from "./format.js";

const HEATS = 8;

export class Frontier {
  constructor() {
    this.edges = "";
    this.cells = [];
    this.looked = null; // [row, column] that the reader looks at
    this.at = [0, 0]; // the cell that the tab key reaches
    const place = find("frontier");
    place.addEventListener("keydown", (event) => this.walk(event));
    place.addEventListener("pointerover", (event) => this.look(cellOf(event)));
    place.addEventListener("pointerleave", () => this.look(null));
    place.addEventListener("focusin", (event) => this.look(cellOf(event)));
    place.addEventListener("focusout", () => this.look(null));
  }

  show(slo) {
    this.slo = slo;
    const { ttft_le_ms: rows, itl_le_ms: columns } = slo.frontier;
    const edges = JSON.stringify([rows, columns, slo.limits]);
    if (edges !== this.edges) this.build(rows, columns);
    this.edges = edges;
    this.cells.forEach((cells, r) =>
      cells.forEach((cell, c) => {
        const ratio = slo.frontier.ratios[r]?.[c];
        setText(cell, ratio === undefined ? "" : whole(ratio));
        cell.dataset.heat = ratio === undefined ? 0 : heat(ratio, slo.objective);
        cell.setAttribute("aria-label", this.sentence(r, c));
      }),
    );
    this.read();
  }

  build(rows, columns) {
    const own = [rows.indexOf(this.slo.limits.ttft_ms), columns.indexOf(this.slo.limits.itl_ms)];
    this.own = own;
    this.at = own;
    this.looked = null;
    const head = columns.map((ms) => make("th", { scope: "col", textContent: short(ms) }));
    this.cells = rows.map((_, r) =>
      columns.map((__, c) =>
        make("td", {
          className: r === own[0] && c === own[1] ? "own" : "",
          tabIndex: r === own[0] && c === own[1] ? 0 : -1,
          dataset: { row: r, column: c },
        }),
      ),
    );
    const body = this.cells.map((cells, r) =>
      make("tr", {}, make("th", { scope: "row", textContent: short(rows[r]) }), ...cells),
    );
    find("frontier").replaceChildren(
      make(
        "table",
        { attributes: { role: "grid", "aria-labelledby": "frontier-title" } },
        make("thead", {}, make("tr", {}, make("th", { scope: "col", textContent: "TTFT \\ ITL" }), ...head)),
        make("tbody", {}, ...body.reverse()),
      ),
    );
  }

  sentence(r, c) {
    const { ttft_le_ms: rows, itl_le_ms: columns, ratios } = this.slo.frontier;
    const ttft = rows[r] === null ? "any TTFT" : `TTFT ≤ ${format.limit(rows[r])}`;
    const itl = columns[c] === null ? "any ITL" : `ITL ≤ ${format.limit(columns[c])}`;
    if (!ratios.length) return `with ${ttft} and ${itl}: no request yet`;
    return `with ${ttft} and ${itl} goodput would have been ${format.percent(ratios[r][c])}`;
  }

  read() {
    const [r, c] = this.looked ?? this.own;
    const sentence = this.sentence(r, c);
    setText("frontier-text", `${sentence[0].toUpperCase()}${sentence.slice(1)}.${this.looked ? "" : " (These are the limits in force, framed.)"}`);
  }

  look(place) {
    for (const cell of find("frontier").querySelectorAll(".looked")) cell.classList.remove("looked");
    this.looked = place;
    if (place) this.cells[place[0]][place[1]].classList.add("looked");
    if (this.slo) this.read();
  }

  // One cell is reached by the tab key, the others by arrows; the highest TTFT is on top.
  walk(event) {
    const move = { ArrowUp: [1, 0], ArrowDown: [-1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    const from = cellOf(event);
    if (!move || !from) return;
    event.preventDefault();
    const [r, c] = [from[0] + move[0], from[1] + move[1]];
    const next = this.cells[r]?.[c];
    if (!next) return;
    this.cells[from[0]][from[1]].tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }
}

function cellOf(event) {
  const cell = event.target.closest("td");
  return cell ? [Number(cell.dataset.row), Number(cell.dataset.column)] : null;
}

// The last one is of another kind than the shades before it: the objective would have been kept.
function heat(ratio, objective) {
  return ratio >= objective ? HEATS : Math.min(HEATS - 1, Math.floor(ratio * HEATS));
}

// There is room for two digits, and "100" is kept for what is all.
function whole(ratio) {
  if (ratio > 0 && ratio < 0.01) return "<1";
  return String(ratio > 0.99 ? Math.floor(ratio * 100) : Math.round(ratio * 100));
}

function short(ms) {
  if (ms === null) return "any";
  return ms >= 1000 ? `${ms / 1000} s` : `${ms} ms`;
}
