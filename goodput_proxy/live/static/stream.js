// Follows the stream of summaries for as long as the page is seen, and keeps the series together.

const KEPT_SECONDS = 15 * 60;

// The last quarter of an hour; a message brings all of it or its last seconds only.
export class Series {
  constructor() {
    this.end = 0; // number of the second after the last
    this.endUnix = 0;
    this.good = [];
    this.slow = [];
    this.error = [];
  }

  merge({ begin, begin_unix_s: beginUnix, good, slow, error }) {
    const added = begin + good.length - this.end;
    const gap = begin > this.end || added < 0;
    const fresh = (mine, theirs) =>
      gap ? theirs : [...mine, ...theirs.slice(theirs.length - added)].slice(-KEPT_SECONDS);
    if (gap || added > 0) {
      this.good = fresh(this.good, good);
      this.slow = fresh(this.slow, slow);
      this.error = fresh(this.error, error);
    }
    this.end = begin + good.length;
    this.endUnix = Math.round(beginUnix + good.length);
  }
}

export function follow(show, tell) {
  let source = null;
  let series = new Series();

  function open() {
    series = new Series();
    source = new EventSource("api/v1/stream");
    source.addEventListener("open", () => tell("live", "live"));
    source.addEventListener("summary", (event) => {
      const summary = JSON.parse(event.data);
      series.merge(summary.series);
      show(summary, series);
    });
    source.addEventListener("error", () => {
      tell("lost", "connection lost, trying again");
      // The browser tries again by itself unless it was refused.
      if (source.readyState === EventSource.CLOSED) setTimeout(follows, 2000);
    });
  }

  function close() {
    source?.close();
    source = null;
  }

  // Who cannot see the page does not have it made.
  function follows() {
    close();
    if (!document.hidden) open();
  }

  document.addEventListener("visibilitychange", follows);
  follows();
}
