/** Something loaded by REST: loading, ready or failed, and what was loaded before stays visible. */

import { useEffect, useRef, useState } from "preact/hooks";
import { Problem } from "../api/client";
import { utcNow } from "./clock";

export interface Resource<T> {
  readonly data: T | null;
  readonly problem: Problem | null;
  readonly loading: boolean;
  readonly loaded_ms: number | null;
  readonly reload: () => void;
}

interface Held<T> {
  readonly data: T | null;
  readonly problem: Problem | null;
  readonly loading: boolean;
  readonly loaded_ms: number | null;
}

export function problemOf(error: unknown): Problem {
  if (error instanceof Problem) return error;
  return new Problem(0, "page", "This page failed", error instanceof Error ? error.message : String(error));
}

/** Loads when `key` changes (and on `reload`); a new key forgets the old data, a reload keeps it. */
export function useResource<T>(key: string, load: (signal: AbortSignal) => Promise<T>): Resource<T> {
  const [held, setHeld] = useState<Held<T>>({ data: null, problem: null, loading: true, loaded_ms: null });
  const [turn, setTurn] = useState(0);
  const shown = useRef(key);
  useEffect(() => {
    const abort = new AbortController();
    const fresh = shown.current !== key;
    shown.current = key;
    setHeld((old) => ({ ...old, loading: true, ...(fresh ? { data: null, problem: null, loaded_ms: null } : {}) }));
    load(abort.signal).then(
      (data) => {
        if (!abort.signal.aborted) setHeld({ data, problem: null, loading: false, loaded_ms: utcNow() });
      },
      (error: unknown) => {
        if (!abort.signal.aborted) setHeld((old) => ({ ...old, problem: problemOf(error), loading: false }));
      },
    );
    return () => abort.abort();
  }, [key, turn]);
  return { ...held, reload: () => setTurn((n) => n + 1) };
}
