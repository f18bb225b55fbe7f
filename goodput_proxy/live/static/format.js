// How numbers are written; the page is in English, and so are its numbers.

const NONE = "–";

export function rate(value) {
  if (value >= 100) return Math.round(value).toLocaleString("en");
  return value.toFixed(value >= 10 || value === 0 ? 1 : 2);
}

export function count(value) {
  return value.toLocaleString("en");
}

// Whole per cents, but never "100 %" of what is not all, nor "0 %" of what is something.
export function percent(ratio) {
  if (ratio === null || ratio === undefined) return NONE;
  if (ratio > 0.99 && ratio < 1) return `${(Math.floor(ratio * 1000) / 10).toFixed(1)} %`;
  if (ratio > 0 && ratio < 0.01) return `${(Math.ceil(ratio * 1000) / 10).toFixed(1)} %`;
  return `${Math.round(ratio * 100)} %`;
}

export function objective(ratio) {
  return `${Number((ratio * 100).toFixed(3))} %`;
}

export function duration(ms) {
  if (ms === null || ms === undefined) return NONE;
  if (ms >= 60_000) return `${Number((ms / 60_000).toPrecision(3))} min`;
  if (ms >= 1_000) return `${Number((ms / 1_000).toPrecision(3))} s`;
  return `${Number(ms.toPrecision(ms < 100 ? 2 : 3))} ms`;
}

// A limit is written as it was set, without rounding.
export function limit(ms) {
  if (ms === null) return "none";
  return ms >= 1_000 ? `${ms / 1_000} s` : `${ms} ms`;
}

export function span(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5_400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3_600)} h`;
  return `${Math.round(seconds / 86_400)} d`;
}

export function clock(unixSeconds) {
  return new Date(unixSeconds * 1000).toLocaleTimeString("en-GB");
}

// An address that listens everywhere is reached by the name in the address bar.
export function reachable(url) {
  return url.replace(/\/\/(0\.0\.0\.0|\[::\])(?=[:/]|$)/, `//${location.hostname}`);
}
