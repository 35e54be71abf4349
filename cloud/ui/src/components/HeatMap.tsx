/** Racks × slots of one zone: fill = chosen value, border and sign = state or inhibit, hatched = unknown. */

import type { JSX } from "preact";
import { useRef, useState } from "preact/hooks";
import { css, inkOn, rampColour } from "../format/ramp";
import { span } from "../format/time";
import { now } from "../state/clock";
import { ageOf, type Device } from "../state/fleet";
import { cellOf, gridOf, lookOf, step, topOf, type Cell, type FillAbout, type Place } from "../state/heat";
import { toDevice } from "../route";

interface Props {
  readonly zone: string;
  readonly miners: readonly Device[];
  readonly fill: FillAbout;
  readonly stale_s: number;
  readonly onPoint: (device: Device | null) => void;
}

/** All that a cell shows, in words, for those who do not see it. */
export function cellWords(cell: Cell, fill: FillAbout, age_s: number | null): string {
  const parts = [cell.device.id, cell.state.label];
  const value = cell.value === null ? "unknown" : `${cell.text === "?" ? cell.value.toFixed(fill.digits) : cell.text} ${fill.unit}`;
  parts.push(`${fill.label} ${cell.stale ? `last known ${value}` : value}`);
  if (cell.stale) parts.push(age_s === null ? "no data yet" : `stale, ${span(age_s)} old`);
  if (cell.inhibited) parts.push(`inhibited: ${cell.inhibited}`);
  if (cell.odd) parts.push("anomaly above threshold");
  return parts.join(", ");
}

function HeatCell({ cell, fill, first, onKey, onPoint, place }: {
  readonly cell: Cell;
  readonly fill: FillAbout;
  readonly first: boolean;
  readonly place: Place;
  readonly onKey: (event: KeyboardEvent, place: Place) => void;
  readonly onPoint: (device: Device | null, place: Place) => void;
}): JSX.Element {
  const colour = cell.share === null ? null : rampColour(cell.share);
  const { look, sign } = lookOf(cell);
  return (
    <a
      class={`cell ${look}${colour === null ? " hatched" : ""}`}
      {...(colour ? { style: { backgroundColor: css(colour), color: css(inkOn(colour)) } } : {})}
      href={toDevice(cell.device.site, cell.device.id)}
      tabIndex={first ? 0 : -1}
      data-place={`${place.row}.${place.column}`}
      aria-label={cellWords(cell, fill, ageOf(cell.device, now.value))}
      onKeyDown={(event) => onKey(event, place)}
      onFocus={() => onPoint(cell.device, place)}
      onMouseEnter={() => onPoint(cell.device, place)}
    >
      <span aria-hidden="true">{cell.text}</span>
      {sign ? <span class="sign" aria-hidden="true">{sign}</span> : null}
    </a>
  );
}

export function HeatMap({ zone, miners, fill, stale_s, onPoint }: Props): JSX.Element {
  const host = useRef<HTMLTableElement>(null);
  const [entry, setEntry] = useState<Place | null>(null);
  const grid = gridOf(miners);
  const top = topOf(fill, miners);
  const at = (place: Place): Device | undefined =>
    grid.at.get(grid.racks[place.row] ?? "")?.get(grid.slots[place.column] ?? NaN);
  // One tab stop for the whole map; the arrow keys move inside it.
  const firstPlace = entry !== null && at(entry) ? entry : step(grid, { row: 0, column: -1 }, "ArrowRight");

  const onKey = (event: KeyboardEvent, place: Place): void => {
    const next = step(grid, place, event.key);
    if (next === null) return;
    event.preventDefault();
    setEntry(next);
    host.current?.querySelector<HTMLElement>(`[data-place="${next.row}.${next.column}"]`)?.focus();
  };

  const cellFor = (device: Device, place: Place): JSX.Element => (
    <HeatCell
      cell={cellOf(device, fill, top, now.value, stale_s)} fill={fill} place={place} onKey={onKey}
      first={firstPlace?.row === place.row && firstPlace.column === place.column}
      onPoint={(pointed, where) => {
        setEntry(where);
        onPoint(pointed);
      }}
    />
  );

  return (
    <div class="heat-scroll">
      <table class="heat" ref={host} aria-label={`Heat map of zone ${zone}, ${fill.label}. Arrow keys move, Enter opens the miner.`}>
        <thead>
          <tr>
            <th scope="col"><span class="sr">Rack</span></th>
            {grid.slots.map((slot) => <th scope="col" key={slot}>{slot}</th>)}
          </tr>
        </thead>
        <tbody>
          {grid.racks.map((rack, row) => (
            <tr key={rack}>
              <th scope="row">{rack}</th>
              {grid.slots.map((slot, column) => {
                const device = grid.at.get(rack)?.get(slot);
                return <td key={slot}>{device ? cellFor(device, { row, column }) : <span class="cell vacant" aria-hidden="true" />}</td>;
              })}
            </tr>
          ))}
        </tbody>
      </table>
      {grid.loose.length ? (
        <p class="loose">
          Without a place in the site file:{" "}
          {grid.loose.map((device) => <a key={device.id} href={toDevice(device.site, device.id)}>{device.id}</a>)}
        </p>
      ) : null}
    </div>
  );
}
