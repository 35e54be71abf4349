/** uPlot, wrapped once: series by name, colours from the style sheet, cursors moving together. */

import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { known } from "../format/numbers";

export interface Series {
  readonly label: string;
  readonly values: readonly (number | null)[];
  /** Number of the colour in the style sheet (`--series-1` …); the dash differs as well. */
  readonly look: 1 | 2 | 3;
}

interface Props {
  readonly title: string;
  readonly unit: string;
  readonly at_s: readonly number[];
  readonly series: readonly Series[];
  /** Time axis, so that charts beside each other show the same stretch. */
  readonly from_s: number;
  readonly to_s: number;
  readonly digits?: number;
}

const HEIGHT = 156;
const DASHES: Readonly<Record<number, number[]>> = { 1: [], 2: [6, 4], 3: [2, 3] };

function styleOf(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function options(props: Props, width: number): uPlot.Options {
  const ink = styleOf("--muted");
  const line = styleOf("--line");
  const font = `11px ${styleOf("--font")}`;
  const axis = { stroke: ink, font, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1, size: 4 } };
  return {
    width,
    height: HEIGHT,
    cursor: { sync: { key: "history" }, drag: { x: false, y: false }, points: { size: 6 } },
    legend: { show: false },
    scales: { x: { time: true, auto: false, min: props.from_s, max: props.to_s } },
    axes: [{ ...axis, space: 64, size: 30, values: (_plot, splits, _axis, _space, step) => splits.map((at_s) => clock(at_s, step)) }, { ...axis, size: 52, space: 28 }],
    series: [
      {},
      ...props.series.map((one) => ({
        label: one.label,
        stroke: styleOf(`--series-${one.look}`),
        width: 1.5,
        dash: DASHES[one.look] ?? [],
        spanGaps: false,
        points: { show: false },
      })),
    ],
  };
}

/** 24-hour clock in the reader's zone; midnight carries its date. */
function clock(at_s: number, step_s: number): string {
  const at = new Date(at_s * 1000);
  const two = (value: number): string => String(value).padStart(2, "0");
  const midnight = at.getHours() === 0 && at.getMinutes() === 0;
  if (step_s < 60) return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  return midnight ? `${two(at.getDate())}.${two(at.getMonth() + 1)}.` : `${two(at.getHours())}:${two(at.getMinutes())}`;
}

/** Last, lowest and highest in words: what a screen reader says, and what a glance wants. */
function summary(series: Series, unit: string, digits: number): string {
  const values = series.values.filter(known);
  const last = values[values.length - 1];
  if (last === undefined) return "no values in this time";
  const f = (value: number): string => value.toFixed(digits);
  return `${f(last)} ${unit} last · ${f(Math.min(...values))} to ${f(Math.max(...values))}`;
}

export function Chart(props: Props): JSX.Element {
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const digits = props.digits ?? 0;
  const data = [props.at_s, ...props.series.map((one) => one.values)] as unknown as uPlot.AlignedData;

  useEffect(() => {
    const box = host.current;
    if (box === null) return undefined;
    const draw = (): void => {
      plot.current?.destroy();
      plot.current = new uPlot(options(props, Math.max(200, box.clientWidth)), data, box);
    };
    draw();
    const resize = new ResizeObserver(() => plot.current?.setSize({ width: Math.max(200, box.clientWidth), height: HEIGHT }));
    resize.observe(box);
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    scheme.addEventListener("change", draw);
    return () => {
      resize.disconnect();
      scheme.removeEventListener("change", draw);
      plot.current?.destroy();
      plot.current = null;
    };
    // Drawn anew when the set of lines changes; new values and times go in below.
  }, [props.series.map((one) => one.label).join("|")]);

  useEffect(() => {
    plot.current?.setData(data, false);
    plot.current?.setScale("x", { min: props.from_s, max: props.to_s });
  }, [props.at_s, props.from_s, props.to_s]);

  const words = props.series.map((one) => ({ one, text: summary(one, props.unit, digits) }));
  return (
    <figure class="chart">
      <figcaption>
        <span class="chart-title">{props.title}</span>
        {words.map(({ one, text }) => (
          <span class="chart-key" key={one.label}>
            <span class={`key look-${one.look}`} aria-hidden="true" />
            {props.series.length > 1 ? `${one.label}: ` : ""}
            {text}
          </span>
        ))}
      </figcaption>
      <div ref={host} role="img" aria-label={`${props.title}: ${words.map(({ one, text }) => `${one.label} ${text}`).join("; ")}`} />
    </figure>
  );
}
