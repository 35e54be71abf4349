import type { JSX } from "preact";
import { actor, askingToken, token } from "../state/session";
import { Credentials } from "./confirm";
import { Dialog } from "./Dialog";

/** Drawn, because the sign in a font differs or lacks on many machines. */
function Lock({ open }: { readonly open: boolean }): JSX.Element {
  return (
    <svg class="lock" viewBox="0 0 16 16" width="14" height="14" aria-hidden="true">
      <rect x="2.5" y="7" width="11" height="7.5" rx="1.5" fill="currentColor" />
      <path d={open ? "M5 7V4.5a3 3 0 0 1 5.8-1" : "M5 7V4.5a3 3 0 0 1 6 0V7"} fill="none" stroke="currentColor" stroke-width="1.7" />
    </svg>
  );
}

/** Says whether this tab may write, and lets a person hand over or drop the token. */
export function TokenButton(): JSX.Element {
  const has = token.value !== "";
  const close = (): void => {
    askingToken.value = false;
  };
  return (
    <>
      <button
        type="button" class="quiet token-button" title={has ? "Change or forget the write token" : "Set the write token"}
        onClick={() => (askingToken.value = true)}
      >
        <Lock open={has} /> <span class="token-text">{has ? actor.value || "Token set" : "Read only"}</span>
      </button>
      {askingToken.value ? (
        <Dialog title="Write access" onClose={close}>
          <form
            onSubmit={(event) => {
              event.preventDefault();
              close();
            }}
          >
            <p class="dialog-body">Reading needs nothing. Commands, acknowledgements, training and roll-outs need the cloud's write token.</p>
            <Credentials ask />
            <div class="dialog-buttons">
              <button
                type="button"
                onClick={() => {
                  token.value = "";
                  close();
                }}
              >
                Forget token
              </button>
              <button type="submit" class="primary">Keep for this tab</button>
            </div>
          </form>
        </Dialog>
      ) : null}
    </>
  );
}
