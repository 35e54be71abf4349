/** Small pieces that every screen uses. */

import type { ComponentChildren, JSX } from "preact";
import { link } from "../live/stream";
import { now } from "../state/clock";
import { ageOf, type Fresh } from "../state/fleet";
import { ageWords, ago, iso, moment } from "../format/time";
import { UNKNOWN } from "../format/numbers";
import type { Problem } from "../api/client";
import type { Severity } from "../api/types";
import { SEVERITY_LABEL, SEVERITY_SIGN } from "../format/words";

/** A value as text; the unknown sign is read aloud as "unknown". */
export function Value({ text }: { readonly text: string }): JSX.Element {
  return text === UNKNOWN ? (
    <span class="unknown" title="unknown">
      <span aria-hidden="true">{UNKNOWN}</span>
      <span class="sr">unknown</span>
    </span>
  ) : (
    <span>{text}</span>
  );
}

/** How old the data is; says "stale" in words once it is. */
export function Age({ of, limit_s }: { readonly of: Fresh; readonly limit_s: number }): JSX.Element {
  const age = ageOf(of, now.value);
  const stale = age === null || age > limit_s;
  return (
    <span class={stale ? "age stale" : "age"} title={`Newest data: ${iso(of.fresh_ms)}`}>
      {stale ? "Stale · " : ""}
      {ageWords(age)}
    </span>
  );
}

export function When({ at_ms, relative = false }: { readonly at_ms: number | null; readonly relative?: boolean }): JSX.Element {
  if (at_ms === null) return <Value text={UNKNOWN} />;
  return (
    <time dateTime={iso(at_ms)} title={`${iso(at_ms)} (UTC)`}>
      {relative ? ago(at_ms, now.value) : moment(at_ms, now.value)}
    </time>
  );
}

export type Tone = "good" | "info" | "warn" | "bad" | "unknown" | "plain";

export function Badge({ tone, children, title }: { readonly tone: Tone; readonly children: ComponentChildren; readonly title?: string }): JSX.Element {
  return (
    <span class={`badge ${tone}`} {...(title ? { title } : {})}>
      {children}
    </span>
  );
}

export function SeverityMark({ severity }: { readonly severity: Severity }): JSX.Element {
  return (
    <span class={`severity ${severity}`}>
      <span aria-hidden="true">{SEVERITY_SIGN[severity]}</span> {SEVERITY_LABEL[severity]}
    </span>
  );
}

export function Empty({ title, children }: { readonly title: string; readonly children?: ComponentChildren }): JSX.Element {
  return (
    <div class="empty">
      <p class="empty-title">{title}</p>
      {children ? <p>{children}</p> : null}
    </div>
  );
}

export function Loading({ what }: { readonly what: string }): JSX.Element {
  return (
    <div class="loading" role="status">
      <span class="bar" aria-hidden="true" />
      Loading {what}…
    </div>
  );
}

/** A failure, what it means for what is on the screen, and the way out. */
export function Failure({ problem, kept_ms = null, retry }: { readonly problem: Problem; readonly kept_ms?: number | null; readonly retry?: () => void }): JSX.Element {
  return (
    <div class="failure" role="alert">
      <div>
        <strong>{problem.message}</strong>
        {problem.detail ? <span> {problem.detail}</span> : null}
        {kept_ms !== null ? <span> What you see was loaded {ago(kept_ms, now.value)}.</span> : null}
      </div>
      {retry ? (
        <button type="button" onClick={retry}>
          Try again
        </button>
      ) : null}
    </div>
  );
}

/** Before the first snapshot: say whether we are still trying or cannot get through. */
export function WaitingForData(): JSX.Element {
  const { failures } = link.value;
  if (failures < 2) return <Loading what="the fleet" />;
  return (
    <div class="failure" role="alert">
      <div>
        <strong>The cloud cannot be reached.</strong> Nothing is known about the sites from here. They keep running by
        themselves and record what happens; this page tries again by itself ({failures} tries so far).
      </div>
    </div>
  );
}

export function Panel({ title, aside, children, id }: { readonly title: string; readonly aside?: ComponentChildren; readonly children: ComponentChildren; readonly id?: string }): JSX.Element {
  return (
    <section class="panel" {...(id ? { id } : {})}>
      <header class="panel-head">
        <h2>{title}</h2>
        {aside ? <div class="panel-aside">{aside}</div> : null}
      </header>
      {children}
    </section>
  );
}

export function Fact({ name, children }: { readonly name: string; readonly children: ComponentChildren }): JSX.Element {
  return (
    <div class="fact">
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}
