// The live page: hands each summary of the stream to the parts that show it.

import { find, setText, toggle } from "./dom.js";
import * as format from "./format.js";
import { Frontier } from "./frontier.js";
import { Knee } from "./knee.js";
import { Latencies } from "./latencies.js";
import { Rates } from "./rates.js";
import { RequestTable } from "./requests.js";
import { follow } from "./stream.js";
import { showStory } from "./story.js";
import { showClasses, showModels, showVerdicts } from "./tables.js";
import { onThemeChange } from "./theme.js";

const rates = new Rates();
const latencies = new Latencies();
const knee = new Knee();
const frontier = new Frontier();
const requests = new RequestTable();
const choice = find("class");
let summary = null;

function chosenClass() {
  const classes = summary.classes;
  return classes.find((slo) => slo.name === choice.value) ?? classes.at(-1);
}

// The options follow the policy, which a reload may change; the first choice is the busiest class.
function offerClasses() {
  const names = summary.classes.map((slo) => slo.name);
  const offered = Array.from(choice.options, (option) => option.value);
  toggle("class-choice", names.length > 1);
  if (names.join("\n") === offered.join("\n")) return;
  const busiest = summary.classes.reduce((a, b) => (b.requests > a.requests ? b : a));
  const kept = names.includes(choice.value) ? choice.value : busiest.name;
  choice.replaceChildren(...names.map((name) => new Option(name, name, false, name === kept)));
}

function showClass() {
  const slo = chosenClass();
  latencies.show(slo);
  knee.show(slo);
  frontier.show(slo);
}

function showSummary(next, series) {
  summary = next;
  setText("where", format.reachable(summary.proxy_url));
  setText("age", `version ${summary.version}, up ${format.span(summary.uptime_s)}`);
  document.body.classList.toggle("fresh", summary.requests === 0);
  toggle("empty", summary.requests === 0);
  toggle("story", summary.requests > 0);
  if (summary.requests === 0) {
    const url = `${format.reachable(summary.proxy_url)}/v1`;
    setText("client-url", format.reachable(summary.proxy_url));
    setText("client-env", `export OPENAI_BASE_URL=${url}`);
  }
  offerClasses();
  showStory(summary);
  rates.show(summary, series);
  showVerdicts(summary);
  showClasses(summary);
  showModels(summary);
  showClass();
  requests.tick(summary);
  // How many summaries have been shown, and by which second: for whoever watches the page.
  document.body.dataset.shown = Number(document.body.dataset.shown ?? 0) + 1;
  document.body.dataset.second = series.end;
}

choice.addEventListener("change", () => summary && showClass());

onThemeChange(() => {
  rates.restyle();
  latencies.restyle();
  knee.restyle();
});

follow(showSummary, (state, words) => {
  find("connection").dataset.state = state;
  setText("connection", words);
});
