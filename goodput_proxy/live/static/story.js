// What the page says in one sentence: how much is answered, and how much of that is in time.

import { find, make, setText } from "./dom.js";
import * as format from "./format.js";

let announced = "";

export function showStory(summary) {
  const { now } = summary;
  const objectives = summary.classes.map((slo) => slo.objective);
  const lowest = Math.min(...objectives);
  const below = now.ratio !== null && now.ratio < lowest;
  tell(summary, below);
  setText("goodput", format.rate(now.goodput_rps));
  setText("throughput", format.rate(now.throughput_rps));
  setText("ratio", format.percent(now.ratio));
  find("ratio").classList.toggle("below", below);
  setText("objective", `objective ${[...new Set(objectives.map(format.objective))].join(", ")}`);
  setText("errors", format.rate(now.error_rps));
  setText("in-flight", format.count(summary.in_flight));
}

function tell({ now, window: last, uptime_s: uptime }, below) {
  const goodput = make("b", { className: "goodput", textContent: format.rate(now.goodput_rps) });
  const answered = make("b", { textContent: format.rate(now.throughput_rps) });
  let parts;
  if (now.ratio === null) parts = [`No request has ended in the last ${now.seconds} seconds.`];
  else if (below) parts = [answered, " requests a second are answered, ", ...butLate(now)];
  else parts = [answered, " requests a second are answered, ", goodput, " of them in time."];
  find("headline").replaceChildren(...parts);
  const since = format.span(Math.min(uptime, last.seconds));
  const looked = `Means of ${now.seconds} s. Over the last ${since}: ${format.percent(last.ratio)} good.`;
  setText("subline", `${errors(now, below)}${looked}`);
  announce(below ? "goodput is below its objective" : "goodput keeps its objective", now.ratio);
}

function butLate({ goodput_rps: goodput }) {
  if (goodput === 0) return [make("b", { className: "late", textContent: "none" }), " of them in time."];
  return ["but only ", make("b", { className: "late", textContent: format.rate(goodput) }), " of them in time."];
}

function errors(now, below) {
  if (now.ratio === null) return "";
  if (now.error_rps > 0) return `${format.rate(now.error_rps)} more fail. `;
  return below ? "None fails: a dashboard of errors and throughput stays green. " : "None fails. ";
}

// Read out only when it changes: a page that speaks every second is no use to a listener.
function announce(text, ratio) {
  if (ratio === null || text === announced) return;
  announced = text;
  setText("announce", text);
}
