/** How complete what a site has sent is, from the ledger; pure. */

import type { Stream } from "../api/identity";

const grouped = new Intl.NumberFormat("en");
const WORDS: Readonly<Record<string, string>> = {
  rollup: "Roll-up rows", score: "Scores", ev: "Events", hist: "Machines' own records", raw: "Raw windows", cmd: "Command results",
};

export function streamName(stream: string): string {
  return WORDS[stream] ?? stream;
}

/** What rows that are kept beside the stored ones mean, and what to do. */
export function setBack(rows: number): string {
  const kept = rows === 1
    ? "1 row that differs from the one that came first is kept beside it"
    : `${grouped.format(rows)} rows that differ from those that came first are kept beside them`;
  return `Clock set back: the site recorded some times twice. ${kept}; the charts show what came first. None of these is lost. If the number grows, check the gateway's clock.`;
}

export interface StreamSum {
  readonly stream: string;
  readonly rows: number;
  /** Batches with a lower number than one that is here: still on their way, or waiting on the site. */
  readonly missing: number;
  readonly lost_rows: number;
  readonly twice: number;
  readonly unusable: number;
}

/** One line per stream over all openings of the site's store. */
export function sumStreams(streams: readonly Stream[]): StreamSum[] {
  const sums = new Map<string, StreamSum>();
  for (const one of streams) {
    const old = sums.get(one.stream) ?? { stream: one.stream, rows: 0, missing: 0, lost_rows: 0, twice: 0, unusable: 0 };
    sums.set(one.stream, {
      stream: one.stream,
      rows: old.rows + one.rows,
      missing: old.missing + one.gaps.reduce((sum, [first, last]) => sum + last - first + 1, 0),
      lost_rows: old.lost_rows + one.tombstoned_rows,
      twice: old.twice + one.duplicate_batches,
      unusable: old.unusable + one.quarantined_batches,
    });
  }
  return [...sums.values()].toSorted((a, b) => streamName(a.stream).localeCompare(streamName(b.stream), "en"));
}
