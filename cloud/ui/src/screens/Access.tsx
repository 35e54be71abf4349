/** Who may connect: gateways that ask for their first certificate, and every certificate with its days left. */

import { signal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import { api } from "../api/client";
import type { Certificate, Enrolment, Identity } from "../api/identity";
import { span } from "../format/time";
import { toSite } from "../route";
import { now } from "../state/clock";
import { byNeed, daysWords, fingerprintProblem } from "../state/identity";
import { useResource } from "../state/resource";
import { fleet } from "../state/store";
import { Badge, Empty, Fact, Failure, Loading, Panel, When, type Tone } from "../components/basics";
import { ask } from "../components/confirm";

/** A gateway that asks, and a certificate that was cut off, are told by no live event. */
const POLL_MS = 10_000;
const CUT_POLL_MS = 2_000;

export function Access(): JSX.Element {
  const identity = useResource("identity", (abort) => api.identity(abort));
  const enrolments = useResource("enrolments", (abort) => api.enrolments(abort));
  const certificates = useResource("certificates", (abort) => api.certificates(abort));
  const reload = (): void => {
    identity.reload();
    enrolments.reload();
    certificates.reload();
  };
  const cutting = (certificates.data?.items ?? []).some((one) => one.state === "revoked" && one.cut_ms === null);
  useEffect(() => {
    const timer = setInterval(reload, cutting ? CUT_POLL_MS : POLL_MS);
    return () => clearInterval(timer);
  }, [cutting]);
  const failed = [identity, enrolments, certificates].find((one) => one.problem !== null);
  const asked = enrolments.data?.items ?? [];
  const waiting = asked.filter((one) => one.state === "waiting");
  return (
    <>
      <div class="page-head"><h1>Access</h1></div>
      {failed?.problem ? <Failure problem={failed.problem} kept_ms={failed.loaded_ms} retry={reload} /> : null}
      {identity.data ? <Authority identity={identity.data} /> : identity.problem ? null : <Loading what="who may connect" />}
      {identity.data?.enabled ? (
        <Panel title="Gateways that wait for a person">
          {waiting.length ? (
            waiting.map((one) => <Waiting key={one.id} enrolment={one} reload={reload} />)
          ) : (
            <Empty title="No gateway waits">A new one asks with <code>minewarden enroll</code> and shows a fingerprint; it appears here within seconds.</Empty>
          )}
        </Panel>
      ) : null}
      {certificates.data ? <Certificates all={certificates.data.items} reload={reload} /> : null}
      <Decided all={asked.filter((one) => one.state !== "waiting")} />
    </>
  );
}

function Authority({ identity }: { readonly identity: Identity }): JSX.Element {
  if (!identity.enabled) {
    return (
      <Panel title="Certificate authority">
        <Empty title="This cloud issues no certificates">Start it with an identity folder to enrol gateways here; until then certificates come from elsewhere.</Empty>
      </Panel>
    );
  }
  const left = identity.ca_not_after_ms === null ? null : (identity.ca_not_after_ms - now.value) / 86_400_000;
  return (
    <Panel title="Certificate authority">
      {identity.broker?.trouble ? <p class="note warn-note"><strong>The broker does not have the newest rules:</strong> {identity.broker.trouble}</p> : null}
      <dl class="facts wide">
        <Fact name="Fingerprint"><code class="fingerprint">{identity.ca_fingerprint ?? "—"}</code></Fact>
        <Fact name="Valid for">{daysWords(left)}</Fact>
        <Fact name="Renewed by themselves">{identity.renewals}{identity.refused_renewals ? `, ${identity.refused_renewals} refused` : ""}</Fact>
        <Fact name="Broker's rules">{identity.broker === null ? "not ours to write" : identity.broker.applied_ms === null ? "not written yet" : <When at_ms={identity.broker.applied_ms} relative />}</Fact>
      </dl>
    </Panel>
  );
}

const typed = signal("");
const replace = signal(false);
const reason = signal("");

function Waiting({ enrolment, reload }: { readonly enrolment: Enrolment; readonly reload: () => void }): JSX.Element {
  const left = (enrolment.expires_ms - now.value) / 1000;
  return (
    <div class="approval enrolment" role="group" aria-label={`Enrolment of ${enrolment.site}`}>
      <div class="enrolment-words">
        <p>
          A gateway asks to be <strong>{enrolment.site}</strong>, <When at_ms={enrolment.asked_ms} relative />.{" "}
          {left > 0 ? `It gives up in ${span(left)}.` : "It has given up."}
        </p>
        {enrolment.others_waiting ? (
          <p class="not-ok-words"><strong>{enrolment.others_waiting} more ask{enrolment.others_waiting === 1 ? "s" : ""} to be the same site.</strong> At most one of them is yours: compare the fingerprint letter by letter.</p>
        ) : null}
        {enrolment.site_has_certificate ? (
          <p><strong>This site has a live certificate.</strong> Confirming takes that one back: the gateway that holds it is cut off.{enrolment.replace ? " The new gateway says that it replaces the old one." : ""}</p>
        ) : null}
      </div>
      {left > 0 ? (
        <div class="approval-buttons">
          <button type="button" class="primary" onClick={() => confirmIt(enrolment, reload)}>Confirm…</button>
          <button type="button" onClick={() => refuseIt(enrolment, reload)}>Refuse…</button>
        </div>
      ) : null}
    </div>
  );
}

function FingerprintFields({ enrolment }: { readonly enrolment: Enrolment }): JSX.Element {
  return (
    <>
      <p>
        Let the person who stands at the gateway read out the fingerprint that <code>minewarden enroll</code> shows there, and type it. It is not shown here
        on purpose: whoever confirms must have heard it from the place itself.
      </p>
      <label class="note-field">
        Fingerprint, as it was read out
        <input required maxLength={64} autocomplete="off" spellcheck={false} class="fingerprint" value={typed.value} onInput={(event) => (typed.value = event.currentTarget.value)} />
      </label>
      {enrolment.site_has_certificate ? (
        <label class="check-field">
          <input type="checkbox" required checked={replace.value} onChange={(event) => (replace.value = event.currentTarget.checked)} />
          Take back the certificate that {enrolment.site} has now; the gateway that holds it is cut off.
        </label>
      ) : null}
    </>
  );
}

function confirmIt(enrolment: Enrolment, reload: () => void): void {
  typed.value = "";
  replace.value = false;
  ask({
    title: `Let this gateway be ${enrolment.site}?`,
    verb: "Issue the certificate",
    body: <FingerprintFields enrolment={enrolment} />,
    run: async (actor) => {
      const problem = fingerprintProblem(typed.value);
      if (problem !== null) throw new Error(problem);
      await api.confirmEnrolment(enrolment.id, { fingerprint: typed.value.trim(), actor, replace: replace.value });
      reload();
    },
  });
}

function ReasonField({ required }: { readonly required: boolean }): JSX.Element {
  return (
    <label class="note-field">
      Why, for the record
      <input maxLength={300} autocomplete="off" required={required} value={reason.value} onInput={(event) => (reason.value = event.currentTarget.value)} />
    </label>
  );
}

function refuseIt(enrolment: Enrolment, reload: () => void): void {
  reason.value = "";
  ask({
    title: `Refuse this gateway as ${enrolment.site}?`,
    verb: "Refuse",
    danger: true,
    body: <><p>It gets no certificate and is told so. It may ask again, with a new key.</p><ReasonField required={false} /></>,
    run: async (actor) => {
      await api.refuseEnrolment(enrolment.id, { actor, reason: reason.value.trim() });
      reload();
    },
  });
}

const STATE_TONE: Readonly<Record<Certificate["state"], Tone>> = { live: "good", expired: "unknown", revoked: "bad" };

function Certificates({ all, reload }: { readonly all: readonly Certificate[]; readonly reload: () => void }): JSX.Element {
  const [needed, past] = byNeed(all);
  return (
    <Panel title="Certificates">
      {needed.length ? (
        <ul class="certificates">{needed.map((one) => <CertificateLine key={one.serial} certificate={one} reload={reload} />)}</ul>
      ) : (
        <Empty title="No live certificate">Nobody but what the broker lets in by other means can connect.</Empty>
      )}
      {past.length ? (
        <details class="pad">
          <summary>Expired, replaced and taken back ({past.length})</summary>
          <ul class="certificates">{past.map((one) => <CertificateLine key={one.serial} certificate={one} reload={reload} />)}</ul>
        </details>
      ) : null}
    </Panel>
  );
}

function CertificateLine({ certificate: one, reload }: { readonly certificate: Certificate; readonly reload: () => void }): JSX.Element {
  const live = one.state === "live";
  return (
    <li class="certificate">
      <div class="certificate-head">
        <strong>{one.role === "site" && fleet.value.sites.has(one.name) ? <a href={toSite(one.name)}>{one.name}</a> : one.name}</strong>
        <Badge tone="plain">{one.role === "control" ? `third party, ${one.sites.includes("*") ? "all sites" : one.sites.join(", ")}` : one.role}</Badge>
        <Badge tone={STATE_TONE[one.state]}>{one.state === "live" ? "✓ live" : one.state === "revoked" ? "✕ taken back" : "expired"}</Badge>
        {live && one.superseded ? <Badge tone="info">replaced by a newer one</Badge> : null}
        {live ? <span class={one.renewal_due ? "age stale" : "age"}>{daysWords(one.days_left)} left{one.renewal_due ? " · renewal is due" : ""}</span> : null}
        {live ? <button type="button" class="quiet small" onClick={() => revokeIt(one, reload)}>Take back…</button> : null}
      </div>
      <p class="muted certificate-about">
        <code class="fingerprint">{one.fingerprint}</code> · {one.how}{one.actor ? ` by ${one.actor}` : ""}, <When at_ms={one.issued_ms} /> · until <When at_ms={one.not_after_ms} />
      </p>
      {one.revoked_ms !== null ? (
        <p class={one.cut_ms === null ? "not-ok-words" : "muted"}>
          Taken back <When at_ms={one.revoked_ms} /> by {one.revoked_by ?? "nobody named"}{one.reason ? `: ${one.reason}` : ""}.{" "}
          {one.cut_ms === null ? "The broker has not cut it off yet." : `The broker cut it off after ${span(Math.max(0, (one.cut_ms - one.revoked_ms) / 1000))}.`}
        </p>
      ) : null}
    </li>
  );
}

function revokeIt(one: Certificate, reload: () => void): void {
  reason.value = "";
  ask({
    title: `Take back the certificate of ${one.name}?`,
    verb: "Take it back",
    danger: true,
    body: (
      <>
        <p>
          {one.role === "site"
            ? "The gateway is cut off within a minute and cannot connect again. The site keeps itself safe and records on; nothing of it is seen here, and no command reaches it, until a person enrols it anew."
            : "Whoever holds it is cut off within a minute and cannot connect again."}
        </p>
        <p class="muted">Fingerprint <code class="fingerprint">{one.fingerprint}</code></p>
        <ReasonField required />
      </>
    ),
    run: async (actor) => {
      await api.revoke(one.serial, { actor, reason: reason.value.trim() });
      reload();
    },
  });
}

const DECIDED: Readonly<Record<Enrolment["state"], string>> = { waiting: "waits", issued: "confirmed", refused: "refused", expired: "nobody decided in time" };

function Decided({ all }: { readonly all: readonly Enrolment[] }): JSX.Element | null {
  if (all.length === 0) return null;
  return (
    <Panel title="Decided">
      <ul class="latest">
        {all.slice(0, 20).map((one) => (
          <li key={one.id}>
            <When at_ms={one.decided_ms ?? one.expires_ms} /> {one.site}: {DECIDED[one.state]}{one.actor ? ` by ${one.actor}` : ""}{one.reason ? `, ${one.reason}` : ""}
            {one.fingerprint ? <> · <code class="fingerprint">{one.fingerprint}</code></> : null}
          </li>
        ))}
      </ul>
    </Panel>
  );
}
