// Verdicts by cause, classes and models: the numbers as such.

import { fillRows, find, make, setText } from "./dom.js";
import * as format from "./format.js";

// What a verdict with its cause means, in the words of a reader.
const MEANINGS = {
  good: "good",
  good_partial: "good, as far as known",
  "slow:ttft": "slow: first token",
  "slow:itl": "slow: tokens",
  "slow:stall": "slow: a stall",
  "slow:e2e": "slow: as a whole",
  "error:http_5xx": "error: 5xx",
  "error:http_429": "error: 429",
  "error:http_408": "error: 408",
  "error:stream_error": "error: inside a stream",
  "error:truncated": "error: cut off",
  "error:empty": "error: empty answer",
  "error:connect": "error: no connection",
  "error:timeout": "error: no answer in time",
  client_error: "the client's error: 4xx",
  cancelled: "client left, no limit missed",
};

const keyOf = ({ verdict, cause }) => (cause ? `${verdict}:${cause}` : verdict);

export function meaning(entry) {
  return MEANINGS[keyOf(entry)] ?? MEANINGS[entry.verdict] ?? keyOf(entry);
}

export function mark(verdict) {
  return make("span", { className: "mark", dataset: { verdict } });
}

export function showVerdicts({ verdicts }) {
  const all = verdicts.reduce((total, entry) => total + entry.window, 0);
  fillRows(
    find("verdicts").tBodies[0],
    verdicts,
    keyOf,
    (entry) =>
      make(
        "tr",
        {},
        make("th", { scope: "row", title: keyOf(entry) }, mark(entry.verdict), meaning(entry)),
        make("td", {}, make("div", { className: "bar", dataset: { verdict: entry.verdict } })),
        make("td", { className: "number" }),
        make("td", { className: "number ever" }),
      ),
    (row, entry) => {
      const share = all ? entry.window / all : 0;
      row.cells[1].firstChild.style.width = `${share * 100}%`;
      row.cells[1].title = format.percent(share);
      setText(row.cells[2], format.count(entry.window));
      setText(row.cells[3], format.count(entry.ever));
    },
  );
}

export function showClasses({ classes }) {
  fillRows(
    find("classes").tBodies[0],
    classes,
    (slo) => slo.name,
    (slo) =>
      make(
        "tr",
        {},
        make("th", { scope: "row", className: "name", title: slo.name, textContent: slo.name }),
        make("td", { className: "limits" }),
        ...["number", "number", "number"].map((className) => make("td", { className })),
      ),
    (row, slo) => {
      const { ratio } = slo.rates;
      setText(row.cells[1], describeLimits(slo.limits));
      setText(row.cells[2], format.count(slo.requests));
      setText(row.cells[3], format.percent(ratio));
      row.cells[3].classList.toggle("below", ratio !== null && ratio < slo.objective);
      setText(row.cells[4], format.objective(slo.objective));
    },
  );
}

export function showModels({ models }) {
  fillRows(
    find("models").tBodies[0],
    models,
    (model) => model.name,
    (model) =>
      make(
        "tr",
        {},
        make("th", { scope: "row", className: "name", title: model.name, textContent: model.name }),
        ...["number", "number", "number"].map((className) => make("td", { className })),
      ),
    (row, model) => {
      setText(row.cells[1], format.count(model.requests));
      setText(row.cells[2], format.rate(model.rates.goodput_rps));
      setText(row.cells[3], format.percent(model.rates.ratio));
    },
  );
}

function describeLimits(limits) {
  const names = { ttft_ms: "TTFT", itl_ms: "ITL", stall_ms: "stall", e2e_ms: "E2E" };
  const set = Object.entries(names).filter(([field]) => limits[field] !== null);
  if (!set.length) return "none";
  return set.map(([field, name]) => `${name} ≤ ${format.limit(limits[field])}`).join(", ");
}
