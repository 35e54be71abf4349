import type { JSX } from "preact";
import { actor, askingToken, token } from "../state/session";
import { Credentials } from "./confirm";
import { Dialog } from "./Dialog";

/** Says whether this tab may write, and lets a person hand over or drop the token. */
export function TokenButton(): JSX.Element {
  const has = token.value !== "";
  const close = (): void => {
    askingToken.value = false;
  };
  return (
    <>
      <button
        type="button" class="quiet token-button" aria-label={has ? "Write token is set: change or forget it" : "Reading only: set the write token"}
        onClick={() => (askingToken.value = true)}
      >
        <span aria-hidden="true">{has ? "🔓" : "🔒"}</span> <span class="token-text">{has ? actor.value || "Token set" : "Read only"}</span>
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
