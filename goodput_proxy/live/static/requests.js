// The latest requests and the worst, each with its tokens as ticks over time.

import { fillRows, find, make, makeSvg, setText } from "./dom.js";
import * as format from "./format.js";
import { mark, meaning } from "./tables.js";

// The list is fetched at most this often, and only while it is seen and nobody reads in it.
const EVERY_MS = 2000;
// As many rows as may be in sight; the others are made when somebody turns to the list.
const ROWS_UNREAD = 25;
const WIDTH = 1000;

export class RequestTable {
  constructor() {
    this.list = null;
    this.shown = "latest";
    this.held = false;
    this.touched = false;
    this.shownStill = false;
    this.seen = false;
    this.fetchedAt = -Infinity;
    this.fetchedCount = -1;
    this.count = -1; // of all requests, by the last summary
    const region = (this.region = find("requests").parentElement);
    new IntersectionObserver(([entry]) => {
      this.seen = entry.isIntersecting;
      this.refresh();
    }).observe(region);
    const turns = { pointerenter: true, pointerleave: false, focusin: true, focusout: false };
    for (const [name, turned] of Object.entries(turns)) {
      region.addEventListener(name, () => this.read(turned));
    }
    region.addEventListener("scroll", () => this.read(this.touched));
    for (const which of ["latest", "worst"]) {
      find(`show-${which}`).addEventListener("click", () => this.choose(which));
    }
    find("hold").addEventListener("click", () => this.hold(!this.held));
  }

  tick(summary) {
    this.count = summary.requests;
    this.refresh();
  }

  refresh() {
    const due = performance.now() - this.fetchedAt >= EVERY_MS - 100;
    if (due && this.count !== this.fetchedCount && this.seen && !this.still) this.fetch();
  }

  // Who points at the list, has it in focus or has scrolled it does not want it to move.
  get reading() {
    return this.touched || this.region.scrollTop > 0;
  }

  get still() {
    return this.held || this.reading;
  }

  async fetch() {
    this.fetchedAt = performance.now();
    this.fetchedCount = this.count;
    try {
      const list = await (await fetch("api/v1/requests")).json();
      if (this.list && this.still) return; // somebody has begun to read meanwhile
      this.list = list;
      this.show();
    } catch {
      this.fetchedCount = -1; // the stream says already that the connection is lost
    }
  }

  choose(which) {
    this.shown = which;
    for (const name of ["latest", "worst"]) {
      find(`show-${name}`).setAttribute("aria-pressed", String(name === which));
    }
    this.show();
  }

  hold(held) {
    this.held = held;
    find("hold").setAttribute("aria-pressed", String(held));
    this.show();
  }

  read(touched) {
    this.touched = touched;
    if (this.still !== this.shownStill) this.show();
  }

  tell() {
    const entries = this.list?.[this.shown] ?? [];
    const held = this.held ? ", held" : this.reading ? ", held while you read" : "";
    setText("requests-state", `${entries.length} requests${held}`);
  }

  show() {
    if (!this.list) return;
    this.shownStill = this.still;
    const entries = this.list[this.shown];
    const reach = Math.max(1, ...entries.map(lengthOf));
    const scale = `tokens over time, 0 to ${format.duration(reach)}`;
    setText("ticks-head", scale);
    fillRows(
      find("requests").tBodies[0],
      this.still ? entries : entries.slice(0, ROWS_UNREAD),
      (entry) => `${entry.number}/${reach}`,
      (entry) => this.makeRow(entry, reach),
    );
    this.tell();
  }

  makeRow(entry, reach) {
    const missed = (name) => (entry.missed.includes(name) ? " missed" : "");
    const time = (name, wide) =>
      make("td", {
        className: `number${wide}${missed(name)}`,
        textContent: format.duration(entry[`${name}_ms`]),
      });
    const tokens = entry.input_tokens === null ? "" : `${format.count(entry.input_tokens)} → `;
    return make(
      "tr",
      {},
      make("td", { className: "wide", textContent: format.clock(entry.ended_unix_s) }),
      make("td", { title: `${entry.verdict} ${entry.cause}` }, mark(entry.verdict), describe(entry)),
      time("ttft", ""),
      time("itl", ""),
      time("stall", " wide"),
      time("e2e", " wide"),
      make("td", { className: "number wide", textContent: `${tokens}${format.count(entry.output_tokens)}` }),
      make("td", { className: "number wide", textContent: format.count(entry.in_flight) }),
      make("td", { className: "ticks", dataset: { verdict: entry.verdict } }, this.drawTicks(entry, reach)),
      make("td", { className: "wide name", title: `${entry.slo}, ${entry.model}`, textContent: `${entry.slo}, ${entry.model}` }),
      make("td", { className: "wide name", title: entry.request_id, textContent: entry.request_id || "–" }),
    );
  }

  // A bar for the wait, a tick for each token, a dashed line where the first was due.
  drawTicks(entry, reach) {
    const at = (ms) => (Math.min(ms, reach) / reach * WIDTH).toFixed(1);
    const times = entry.token_times_ms;
    const wait = times.length ? times[0] : lengthOf(entry);
    const due = entry.limits.ttft_ms;
    const words = times.length
      ? `${times.length} token times from ${format.duration(times[0])} to ${format.duration(times.at(-1))}`
      : `no token within ${format.duration(lengthOf(entry))}`;
    const marks = [
      makeSvg("rect", { class: "wait", x: 0, y: 7, width: at(wait), height: 4 }),
      makeSvg("path", { class: "tick", d: times.map((ms) => `M${at(ms)} 2V16`).join("") }),
    ];
    if (due !== null && due < reach) marks.push(makeSvg("path", { class: "limit", d: `M${at(due)} 0V18` }));
    const box = { viewBox: `0 0 ${WIDTH} 18`, preserveAspectRatio: "none", role: "img", "aria-label": words };
    return makeSvg("svg", box, ...marks);
  }
}

function describe(entry) {
  const times = entry.excess === null ? "" : `, ${Number(entry.excess.toPrecision(2))}×`;
  return `${meaning(entry)}${times}`;
}

function lengthOf(entry) {
  return entry.e2e_ms ?? entry.elapsed_ms;
}
