/** History of one device: charts that share their time axis, loaded once and grown as data arrives. */

import type { JSX } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { api, type Problem } from "../api/client";
import type { OwnPoint } from "../api/identity";
import { known } from "../format/numbers";
import { route, setQuery } from "../route";
import { utcNow } from "../state/clock";
import type { Device } from "../state/fleet";
import { loadHistory, withGaps, type History } from "../state/history";
import { join, OWN_OF } from "../state/own";
import { problemOf } from "../state/resource";
import { Empty, Failure, Loading, Panel } from "./basics";
import { Chart, type Series } from "./Chart";

export interface ChartSpec {
  readonly title: string;
  readonly unit: string;
  readonly digits: number;
  readonly scale: number;
  readonly lines: readonly { readonly column: string; readonly label: string }[];
}

const RANGES: readonly (readonly [string, string, number])[] = [
  ["15m", "15 min", 900], ["1h", "1 h", 3600], ["6h", "6 h", 21_600], ["24h", "24 h", 86_400],
];

function rangeOf(word: string | undefined): readonly [string, string, number] {
  return RANGES.find(([id]) => id === word) ?? (RANGES[1] as readonly [string, string, number]);
}

export function HistoryPanel({ title, device, charts }: { readonly title: string; readonly device: Device; readonly charts: readonly ChartSpec[] }): JSX.Element {
  const [range, , seconds] = rangeOf(route.value.query["range"]);
  const columns = useMemo(() => [...new Set(charts.flatMap((chart) => chart.lines.map((line) => line.column)))], [charts]);
  const [held, setHeld] = useState<{ range: string; history: History; to_ms: number } | null>(null);
  const [own, setOwn] = useState<readonly OwnPoint[]>([]);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [turn, setTurn] = useState(0);

  useEffect(() => {
    const abort = new AbortController();
    const to_ms = utcNow();
    // Grows what is there while the range stays; another range starts anew.
    const old = held !== null && held.range === range && held.history.at_ms.length > 0 ? held.history : null;
    loadHistory(device.site, device.id, columns, to_ms - seconds * 1000, old, abort.signal).then(
      (history) => {
        if (abort.signal.aborted) return;
        setProblem(null);
        setHeld({ range, history, to_ms });
      },
      (error: unknown) => {
        if (!abort.signal.aborted) setProblem(problemOf(error));
      },
    );
    return () => abort.abort();
  }, [device.id, device.at_ms, range, turn]);

  // What the machine itself recorded is filled in after gaps, rarely: asked for with each range, not with each row.
  useEffect(() => {
    const abort = new AbortController();
    setOwn([]);
    if (device.kind === "miner") {
      api.own(device.site, device.id, utcNow() - seconds * 1000, abort.signal).then(
        (answer) => setOwn(answer.items),
        () => undefined, // an older cloud has none; what was measured is drawn all the same
      );
    }
    return () => abort.abort();
  }, [device.id, range, turn]);

  const retry = (): void => setTurn((n) => n + 1);
  return (
    <Panel title={title} aside={<RangeChoice range={range} />}>
      {problem ? <Failure problem={problem} kept_ms={held?.to_ms ?? null} retry={retry} /> : null}
      {held === null ? (
        problem ? null : <Loading what="history" />
      ) : held.history.at_ms.length === 0 ? (
        <Empty title="No data in this time">Choose a longer one, or wait for the first row.</Empty>
      ) : (
        <Charts charts={charts} columns={columns} history={held.history} own={own} to_s={held.to_ms / 1000} seconds={seconds} />
      )}
    </Panel>
  );
}

/** A site that is minutes old does not draw an hour of nothing before them. */
const LEAST_S = 300;
function startOf(at_s: readonly number[], to_s: number, seconds: number): number {
  const known = to_s - (at_s[0] ?? to_s);
  return to_s - Math.min(seconds, Math.max(LEAST_S, known * 1.02));
}

function Charts({ charts, columns, history, own: points, to_s, seconds }: {
  readonly charts: readonly ChartSpec[];
  readonly columns: readonly string[];
  readonly history: History;
  readonly own: readonly OwnPoint[];
  readonly to_s: number;
  readonly seconds: number;
}): JSX.Element {
  const { at_s, values, own } = useMemo(() => {
    const measured = withGaps(history);
    return join(measured.at_s, measured.values, points);
  }, [history, points]);
  return (
    <div class="charts">
      {charts.map((chart) => {
        const scaled = (row: readonly (number | null)[]): (number | null)[] => row.map((value) => (known(value) ? value * chart.scale : null));
        const series: Series[] = chart.lines.map((line, i) => ({
          label: line.label,
          look: (i + 1) as 1 | 2 | 3,
          values: scaled(values[columns.indexOf(line.column)] ?? []),
        }));
        const recorded = OWN_OF[chart.lines[0]?.column ?? ""];
        if (recorded !== undefined && own[recorded].some(known)) {
          series.push({ label: "machine's own record", look: 3, values: scaled(own[recorded]) });
        }
        return (
          <Chart
            key={chart.title} title={chart.title} unit={chart.unit} digits={chart.digits} at_s={at_s} series={series}
            from_s={startOf(at_s, to_s, seconds)} to_s={to_s}
          />
        );
      })}
    </div>
  );
}

function RangeChoice({ range }: { readonly range: string }): JSX.Element {
  return (
    <div class="choice" role="group" aria-label="Time shown">
      {RANGES.map(([id, label]) => (
        <button type="button" key={id} aria-pressed={id === range} onClick={() => setQuery({ range: id })}>{label}</button>
      ))}
    </div>
  );
}
