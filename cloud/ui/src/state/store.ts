/** The page's one live store. */

import { computed, signal } from "@preact/signals";
import type { AlarmView, CommandView, LiveMessage } from "../api/types";
import { EMPTY, openAlarms, reduce, withCommand, type Device, type Fleet, type Site } from "./fleet";

export const fleet = signal<Fleet>(EMPTY);

export function receive(message: LiveMessage, now_ms: number): void {
  fleet.value = reduce(fleet.value, message, now_ms);
}

/** An alarm that a REST answer changed, before the live stream says the same. */
export function receiveAlarm(alarm: AlarmView): void {
  fleet.value = { ...fleet.value, alarms: new Map(fleet.value.alarms).set(alarm.id, alarm) };
}

/** A command that this page sent. */
export function receiveCommand(command: CommandView): void {
  fleet.value = withCommand(fleet.value, command);
}

export const sites = computed<Site[]>(() => [...fleet.value.sites.values()].sort((a, b) => a.name.localeCompare(b.name)));
export const open = computed(() => openAlarms(fleet.value));

export function devicesOf(site: string): Device[] {
  return [...(fleet.value.devices.get(site)?.values() ?? [])];
}
