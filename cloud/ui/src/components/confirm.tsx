/**
 * The two steps of every write: a button opens this dialog, which says what will happen; only its own
 * button sends. Token and name are asked for here when the session has none yet. What touches power has one
 * more step: the first answer is the site's own word on it, as the next question.
 */

import { signal } from "@preact/signals";
import type { ComponentChildren, JSX } from "preact";
import { useState } from "preact/hooks";
import type { Problem } from "../api/client";
import { problemOf } from "../state/resource";
import { actor, token } from "../state/session";
import { Failure } from "./basics";
import { Dialog } from "./Dialog";

export interface Question {
  readonly title: string;
  readonly body: ComponentChildren;
  /** The verb on the button: what will be done, not "OK". */
  readonly verb: string;
  readonly danger?: boolean;
  /** Does it; a question as its result is asked next. */
  readonly run: (actor: string) => Promise<Question | void>;
  /** What the button says meanwhile. */
  readonly busy?: string;
}

const asked = signal<Question | null>(null);

export function ask(question: Question): void {
  asked.value = question;
}

export function ConfirmHost(): JSX.Element | null {
  const question = asked.value;
  return question === null ? null : <Confirm key={question.title} question={question} />;
}

function Confirm({ question }: { readonly question: Question }): JSX.Element {
  const [problem, setProblem] = useState<Problem | null>(null);
  const [busy, setBusy] = useState(false);
  const [askToken] = useState(token.value === "");
  const close = (): void => {
    asked.value = null;
  };
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    setBusy(true);
    setProblem(null);
    try {
      const next = await question.run(actor.value.trim());
      // Closed meanwhile is closed: a late answer opens nothing.
      if (asked.value === question) asked.value = next ?? null;
    } catch (error) {
      setProblem(problemOf(error));
      setBusy(false);
    }
  };
  return (
    <Dialog title={question.title} onClose={close}>
      <form onSubmit={submit}>
        <div class="dialog-body">{question.body}</div>
        <Credentials ask={askToken || (problem?.needsToken ?? false)} />
        {problem ? <Failure problem={problem} /> : null}
        <div class="dialog-buttons">
          <button type="button" onClick={close}>
            Cancel
          </button>
          <button type="submit" class={question.danger ? "danger" : "primary"} disabled={busy}>
            {busy ? (question.busy ?? "Sending…") : question.verb}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

/** Who does it (for the audit) and by what right (the cloud's write token). */
export function Credentials({ ask: show }: { readonly ask: boolean }): JSX.Element {
  return (
    <div class="fields">
      <label>
        Your name, for the record
        <input
          required maxLength={60} autocomplete="off" value={actor.value}
          onInput={(event) => (actor.value = event.currentTarget.value)}
        />
      </label>
      {show ? (
        <label>
          Write token
          <input
            required type="password" autocomplete="off" spellcheck={false} value={token.value}
            onInput={(event) => (token.value = event.currentTarget.value.trim())}
          />
          <small>From the cloud's token file. Kept in this tab until it is closed.</small>
        </label>
      ) : null}
    </div>
  );
}
