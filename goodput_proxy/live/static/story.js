// What the page says in one sentence: how much is answered, and how much of that is in time.

import { find, make, setText } from "./dom.js";
import * as format from "./format.js";

let announced = "";

export function showStory(summary) {
  const { now } = summary;
  const objectives = [...new Set(summary.classes.map((slo) => format.objective(slo.objective)))];
  const below = now.ratio !== null && now.ratio < expected(summary.classes);
  tell(summary, below);
  setText("goodput", format.rate(now.goodput_rps));
  setText("throughput", format.rate(now.throughput_rps));
  setText("ratio", format.percent(now.ratio));
  find("ratio").classList.toggle("below", below);
  setText("objective", `${objectives.length > 1 ? "objectives" : "objective"} ${objectives.join(", ")}`);
  setText("errors", format.rate(now.error_rps));
  setText("in-flight", format.count(summary.in_flight));
}

// What the ratio of all would be if each class just kept its own objective.
function expected(classes) {
  const requests = classes.reduce((total, slo) => total + slo.requests, 0);
  if (!requests) return Math.max(...classes.map((slo) => slo.objective));
  return classes.reduce((total, slo) => total + slo.objective * slo.requests, 0) / requests;
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
  if (now.error_rps > 0) return `Another ${format.rate(now.error_rps)} fail. `;
  return below ? "None fails: a dashboard of errors and throughput stays green. " : "None fails. ";
}

// Read out only when it changes: a page that speaks every second is no use to a listener.
function announce(text, ratio) {
  if (ratio === null || text === announced) return;
  announced = text;
  setText("announce", text);
}
