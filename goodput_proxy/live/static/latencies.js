// TTFT, ITL and stall of the chosen class, each with its limit drawn in.

import { setText } from "./dom.js";
import { Bars } from "./bars.js";
import * as format from "./format.js";

const NAMES = { ttft: "TTFT", itl: "ITL", stall: "Stall" };

export class Latencies {
  constructor() {
    this.charts = {};
    this.texts = {};
    for (const name of Object.keys(NAMES)) {
      this.charts[name] = new Bars(`${name}-chart`, (index) => this.read(name, index));
    }
  }

  show(slo) {
    this.slo = slo;
    for (const [name, chart] of Object.entries(this.charts)) {
      const { edges, counts, limitAt, from } = cut(slo[name]);
      this.texts[name] = { edges, counts, from };
      chart.show({
        values: counts,
        fine: counts.map((_, i) => limitAt === null || i < limitAt),
        edges: edges.map((edge) => (edge === Infinity ? "" : format.duration(edge))),
        line: limitAt === null ? null : { at: limitAt, text: `limit ${format.limit(slo[name].limit_ms)}` },
        label: `${NAMES[name]}: ${describe(slo[name])}`,
      });
      if (this.looked?.name !== name) setText(`${name}-text`, describe(slo[name]));
      else this.read(name, this.looked.index);
    }
  }

  restyle() {
    for (const chart of Object.values(this.charts)) chart.restyle();
  }

  read(name, index) {
    this.looked = index === null ? null : { name, index };
    const { edges, counts } = this.texts[name];
    if (index === null || index >= counts.length) {
      setText(`${name}-text`, describe(this.slo[name]));
      return;
    }
    const high = edges[index + 1];
    const span = high === Infinity ? "more" : format.duration(high);
    setText(`${name}-text`, `${format.duration(edges[index])} to ${span}: ${format.count(counts[index])} requests`);
  }
}

// The part of a distribution that holds anything, and the neighbourhood of its limit.
function cut({ edges_ms: edges, counts, limit_ms: limit }) {
  const bounds = [0, ...edges, Infinity];
  const limitAt = limit === null ? -1 : bounds.indexOf(limit);
  const used = counts.flatMap((count, i) => (count ? [i] : []));
  if (limitAt >= 0) used.push(limitAt - 1, limitAt);
  if (!used.length) used.push(0, counts.length - 1);
  const from = Math.max(0, Math.min(...used) - 1);
  const to = Math.min(counts.length, Math.max(...used) + 2);
  return {
    from,
    edges: bounds.slice(from, to + 1),
    counts: counts.slice(from, to),
    limitAt: limitAt >= 0 ? limitAt - from : null,
  };
}

function describe({ p50_ms: p50, p95_ms: p95, within, limit_ms: limit }) {
  if (p50 === null) return "No request yet.";
  const half = `Half within ${format.duration(p50)}, 95 % within ${format.duration(p95)}.`;
  if (limit === null) return `${half} No limit.`;
  return `${half} ${format.percent(within)} keep the limit of ${format.limit(limit)}.`;
}
