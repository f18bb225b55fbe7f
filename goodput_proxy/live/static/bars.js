// A bar chart over steps that are not equally far apart and are drawn as if they were.

import { find } from "./dom.js";
import { colour, font } from "./theme.js";

const LABEL_WIDTH = 52;

export class Bars {
  // `read(index)` is called with the bar that the pointer is on, or null.
  constructor(id, read, height = 150) {
    this.height = height;
    this.id = id;
    this.read = read;
    this.chart = null;
    this.shown = null;
    new ResizeObserver(() => this.restyle()).observe(find(id));
  }

  // values: one per bar, null for none. fine: whether each is on the good side.
  // edges: labels between the bars, one more than bars; or names, one per bar.
  // line: {at: place between bars} or {level: height}, with a text.
  show({ values, fine, edges, names, top, line, label }) {
    const before = this.shown;
    this.shown = { values, fine, edges, names, top, line };
    find(this.id).setAttribute("aria-label", label);
    if (!this.chart || before.values.length !== values.length) this.restyle();
    else this.chart.setData(this.columns());
  }

  columns() {
    const { values, fine } = this.shown;
    return [
      values.map((_, i) => i),
      values.map((value, i) => (fine[i] ? value : null)),
      values.map((value, i) => (fine[i] ? null : value)),
    ];
  }

  restyle() {
    const element = find(this.id);
    if (!this.shown || !element.clientWidth) return;
    this.chart?.destroy();
    const paths = uPlot.paths.bars({ size: [0.84, 80], radius: 0.08 });
    const bars = (name) => ({ stroke: colour(name), fill: colour(name), width: 0, paths, points: { show: false } });
    this.chart = new uPlot(
      {
        width: element.clientWidth,
        height: this.height,
        legend: { show: false },
        padding: [18, 6, 0, 6],
        select: { show: false },
        cursor: { x: false, y: false, points: { show: false }, drag: { x: false, y: false } },
        scales: {
          x: { time: false, range: () => [-0.5, Math.max(1, this.shown.values.length) - 0.5] },
          y: { range: (_, __, max) => [0, this.shown.top ?? Math.max(1, max * 1.05)] },
        },
        series: [{}, bars("good"), bars("late")],
        axes: [
          {
            stroke: colour("soft"),
            font: font(11),
            grid: { show: false },
            ticks: { show: false },
            size: 22,
            gap: 3,
            splits: () => this.places(element.clientWidth),
            values: (_, at) => at.map((place) => this.nameOf(place)),
          },
          { show: false },
        ],
        hooks: {
          draw: [(chart) => this.drawLine(chart)],
          setCursor: [(chart) => this.read?.(chart.cursor.idx ?? null)],
        },
      },
      this.columns(),
      element,
    );
  }

  // Where labels stand: as many as there is room for.
  places(width) {
    const { values, names } = this.shown;
    const room = Math.max(2, Math.floor(width / LABEL_WIDTH));
    const all = names ? values.length : values.length - 1;
    const step = Math.max(1, Math.ceil(all / room));
    const first = names ? 0 : 0.5;
    const places = [];
    for (let place = first; place < values.length - (names ? 0 : 1); place += step) places.push(place);
    return places;
  }

  nameOf(place) {
    const { names, edges } = this.shown;
    return names ? names[place] : edges[Math.floor(place) + 1];
  }

  drawLine(chart) {
    const { line } = this.shown;
    if (!line) return;
    const { ctx, bbox } = chart;
    const scale = devicePixelRatio;
    const upright = line.at !== undefined;
    const at = upright
      ? chart.valToPos(line.at - 0.5, "x", true)
      : chart.valToPos(line.level, "y", true);
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = colour("ink");
    ctx.lineWidth = 1.5 * scale;
    ctx.setLineDash(upright ? [] : [5 * scale, 4 * scale]);
    ctx.beginPath();
    ctx.moveTo(upright ? at : bbox.left, upright ? bbox.top - 4 * scale : at);
    ctx.lineTo(upright ? at : bbox.left + bbox.width, upright ? bbox.top + bbox.height : at);
    ctx.stroke();
    ctx.font = font(11 * scale);
    ctx.textBaseline = "bottom";
    const right = upright && at > bbox.left + bbox.width / 2;
    ctx.textAlign = upright && !right ? "left" : "right";
    const x = upright ? at + (right ? 3 : -3) * scale : bbox.left + bbox.width;
    ctx.fillText(line.text, upright ? x : x, upright ? bbox.top - 4 * scale : bbox.top - 4 * scale);
    ctx.restore();
  }
}
