// The knee: the goodput ratio by how many requests were in flight, and where the SLO breaks.

import { setText } from "./dom.js";
import { Bars } from "./bars.js";
import * as format from "./format.js";

export class Knee {
  constructor() {
    this.chart = new Bars("knee-chart", (index) => this.read(index), 280);
    this.bands = [];
    this.looked = null;
  }

  show(slo) {
    this.slo = slo;
    this.bands = slo.load;
    const label = this.bands.map((band) => describeBand(band)).join("; ");
    this.chart.show({
      values: this.bands.map((band) => Math.max(band.ratio, 0.008)), // so that zero is seen
      fine: this.bands.map((band) => band.ratio >= slo.objective),
      names: this.bands.map(nameBand),
      top: 1.02,
      line: { level: slo.objective, text: `objective ${format.objective(slo.objective)}` },
      label: label ? `Goodput ratio by requests in flight. ${label}` : "No request yet.",
    });
    this.read(this.looked);
  }

  restyle() {
    this.chart.restyle();
  }

  read(index) {
    this.looked = index;
    const band = index === null ? undefined : this.bands[index];
    setText("knee-text", band ? `${describeBand(band)}.` : this.conclude());
  }

  conclude() {
    const { knee_in_flight: knee, load, objective } = this.slo;
    if (!load.length) return "No request yet.";
    const most = load.at(-1).in_flight;
    if (knee === null) return `The objective of ${format.objective(objective)} is not kept at any load seen so far.`;
    if (knee === most) return `Kept at all loads so far, up to ${most} in flight. The knee has not been reached.`;
    return `The SLO holds up to ${knee} requests in flight, and breaks beyond.`;
  }
}

function nameBand({ in_flight: end }) {
  const begin = end / 2 + 1;
  return end <= 2 ? String(end) : `${begin}–${end}`;
}

function describeBand(band) {
  return `${nameBand(band)} in flight: ${format.percent(band.ratio)} of ${format.count(band.requests)} requests good`;
}
