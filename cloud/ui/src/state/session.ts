/** The write token and the operator's name: kept for this browser tab only, never longer. */

import { effect, signal } from "@preact/signals";

function stored(name: string): string {
  try {
    return sessionStorage.getItem(name) ?? "";
  } catch {
    return "";
  }
}

export const token = signal(typeof sessionStorage === "undefined" ? "" : stored("minewarden.token"));
export const actor = signal(typeof sessionStorage === "undefined" ? "" : stored("minewarden.actor"));

/** True while the dialog that asks for the token stands open. */
export const askingToken = signal(false);

export function keepSession(): void {
  effect(() => {
    try {
      sessionStorage.setItem("minewarden.token", token.value);
      sessionStorage.setItem("minewarden.actor", actor.value);
    } catch {
      // Storage switched off: the token then lasts until the page is reloaded.
    }
  });
}
