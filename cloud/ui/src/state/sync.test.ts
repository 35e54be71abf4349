import { describe, expect, it } from "vitest";
import type { Stream } from "../api/identity";
import { setBack, streamName, sumStreams } from "./sync";

const stream = (changes: Partial<Stream>): Stream => ({
  epoch: "e1", stream: "rollup", batches: 0, upto: 0, rows: 0, duplicate_batches: 0, tombstoned_rows: 0, quarantined_batches: 0, gaps: [], ...changes,
});

describe("what has arrived", () => {
  it("is summed over all openings of the site's store", () => {
    expect(
      sumStreams([
        stream({ rows: 10, gaps: [[3, 5], [9, 9]], tombstoned_rows: 2 }),
        stream({ epoch: "e2", rows: 5, duplicate_batches: 1, gaps: [[1, 2]] }),
        stream({ stream: "ev", rows: 7, quarantined_batches: 1 }),
      ]),
    ).toEqual([
      { stream: "ev", rows: 7, missing: 0, lost_rows: 0, twice: 0, unusable: 1 },
      { stream: "rollup", rows: 15, missing: 6, lost_rows: 2, twice: 1, unusable: 0 },
    ]);
  });
  it("has a name for people, and a stranger keeps its own", () => {
    expect([streamName("hist"), streamName("x")]).toEqual(["Machines' own records", "x"]);
  });
  it("tells of one row, and of many, of a time that was recorded twice", () => {
    expect(setBack(1)).toContain(" 1 row that differs from the one that came first is kept beside it; ");
    expect(setBack(1200)).toContain(" 1,200 rows that differ from those that came first are kept beside them; ");
    expect(setBack(2)).toMatch(/^Clock set back: .* None of these is lost\. If the number grows, check the gateway's clock\.$/);
  });
});
