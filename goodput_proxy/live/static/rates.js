// Goodput and throughput as two lines that part, and the ratio of the two against the objective.

import { find, setText } from "./dom.js";
import * as format from "./format.js";
import { colour, font } from "./theme.js";

// A rate of single requests jumps: each point is the mean of this many seconds before it.
const MEAN_OF_S = 10;
const SHOWN_AT_LEAST_S = 60;

// Moments are written as clock times; how close they stand is the library's to choose.
const TIME = { size: 30, gap: 9, space: 80, values: (_, at) => at.map(format.clock) };
const points = { show: false };

const sum = (values, from, to) => {
  let total = 0;
  for (let i = from; i < to; i += 1) total += values[i];
  return total;
};

export class Rates {
  constructor() {
    this.rates = null;
    this.ratio = null;
    this.data = null;
    this.looked = null; // the index that the reader looks at
    for (const id of ["rates-chart", "ratio-chart"]) {
      new ResizeObserver(() => this.resize()).observe(find(id));
    }
    find("rates-chart").addEventListener("keydown", (event) => this.walk(event));
    find("rates-chart").addEventListener("blur", () => this.look(null));
  }

  show(summary, series) {
    this.data = columnsOf(series);
    this.objectives = [...new Set(summary.classes.map((slo) => slo.objective))];
    if (find("story").hidden) return;
    if (this.ratio?.series.length !== 2 + this.objectives.length) this.restyle();
    else this.draw();
    this.describe(summary);
  }

  restyle() {
    if (!this.data) return;
    this.rates?.destroy();
    this.ratio?.destroy();
    const sync = { key: "rates" };
    const hooks = { setCursor: [(chart) => this.look(chart.cursor.idx)] };
    this.rates = new uPlot(
      {
        ...size("rates-chart", 250),
        ...frame(),
        cursor: { sync, y: false, points: { show: false } },
        hooks,
        scales: { x: { range: reach }, y: { range: (_, __, max) => [0, Math.max(1, max * 1.12)] } },
        series: [
          {},
          { stroke: colour("through"), width: 2, points },
          { stroke: colour("good"), width: 2.5, fill: colour("good-wash"), points },
        ],
        bands: [{ series: [1, 2], fill: colour("late-wash") }],
        axes: [axis(TIME), axis({ size: 46, label: "req/s" })],
      },
      this.columns().rates,
      find("rates-chart"),
    );
    this.ratio = new uPlot(
      {
        ...size("ratio-chart", 110),
        ...frame(),
        cursor: { sync, y: false, points: { show: false } },
        scales: { x: { range: reach }, y: { range: [0, 1.04] } },
        series: [
          {},
          { stroke: colour("good"), width: 2, spanGaps: false, points },
          ...this.objectives.map(() => ({ stroke: colour("soft"), width: 1.5, dash: [6, 5], points })),
        ],
        axes: [
          axis(TIME),
          axis({ size: 44, splits: () => [0, 0.5, 1], values: (_, at) => at.map(format.percent) }),
        ],
      },
      this.columns().ratio,
      find("ratio-chart"),
    );
  }

  columns() {
    const { x, throughput, goodput, ratio } = this.data;
    return {
      rates: [x, throughput, goodput],
      ratio: [x, ratio, ...this.objectives.map((value) => x.map(() => value))],
    };
  }

  draw() {
    const { rates, ratio } = this.columns();
    this.rates.setData(rates);
    this.ratio.setData(ratio);
  }

  resize() {
    if (!this.rates && this.data && !find("story").hidden) this.restyle();
    this.rates?.setSize(size("rates-chart", 250));
    this.ratio?.setSize(size("ratio-chart", 110));
  }

  describe({ now, window: last }) {
    if (this.looked === null) setText("rates-at", "");
    else this.read();
    const words = `Goodput ${format.rate(now.goodput_rps)} and throughput ${format.rate(now.throughput_rps)}`;
    label("rates-chart", `${words} requests per second at present. Arrow keys read earlier moments.`);
    label("ratio-chart", `Goodput ratio: ${format.percent(now.ratio)} at present, ${format.percent(last.ratio)} over all.`);
  }

  look(index) {
    this.looked = index ?? null;
    if (this.looked === null) setText("rates-at", "");
    else this.read();
  }

  read() {
    const { x, throughput, goodput, ratio } = this.data;
    const i = Math.min(this.looked, x.length - 1);
    if (i < 0) return;
    const rates = `throughput ${format.rate(throughput[i])}, goodput ${format.rate(goodput[i])}`;
    setText("rates-at", `${format.clock(x[i])}  ${rates}, ratio ${format.percent(ratio[i])}`);
  }

  // With the arrow keys the moment that is read moves; what it says is announced.
  walk(event) {
    const last = this.data.x.length - 1;
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -30, PageDown: 30 }[event.key];
    const to = { Home: 0, End: last }[event.key] ?? (step && (this.looked ?? last) + step);
    if (to === undefined) return;
    event.preventDefault();
    const index = Math.max(0, Math.min(last, to));
    const left = this.rates.valToPos(this.data.x[index], "x");
    this.rates.setCursor({ left, top: 0 });
    this.look(index);
    setText("announce", find("rates-at").textContent);
  }
}

function columnsOf({ good, slow, error, endUnix }) {
  const length = good.length;
  const x = [];
  const throughput = [];
  const goodput = [];
  const ratio = [];
  for (let end = 1; end <= length; end += 1) {
    const from = Math.max(0, end - MEAN_OF_S);
    const [met, late, failed] = [good, slow, error].map((values) => sum(values, from, end));
    x.push(endUnix - length + end);
    goodput.push(met / (end - from));
    throughput.push((met + late) / (end - from));
    ratio.push(met + late + failed ? met / (met + late + failed) : null);
  }
  return { x, throughput, goodput, ratio };
}

// A page that has been open for a few seconds shows them in a minute that fills.
function reach(chart, min, max) {
  if (min === null || max === null) return [0, SHOWN_AT_LEAST_S];
  return [min, Math.max(max, min + SHOWN_AT_LEAST_S)];
}

function frame() {
  return { legend: { show: false }, padding: [8, 8, 0, 0], select: { show: false } };
}

function size(id, height) {
  const narrow = find(id).clientWidth < 500;
  return { width: find(id).clientWidth, height: narrow ? Math.round(height * 0.75) : height };
}

function axis(options) {
  const { label: text, ...rest } = options;
  return {
    stroke: colour("soft"),
    font: font(),
    grid: { stroke: colour("line"), width: 1 },
    ticks: { show: false },
    gap: 4,
    ...(text ? { values: (_, at) => at.map((value) => Number(value.toFixed(2)).toLocaleString("en")) } : {}),
    ...rest,
  };
}

function label(id, text) {
  find(id).setAttribute("aria-label", text);
}
