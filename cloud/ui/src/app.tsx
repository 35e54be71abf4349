import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import { ConfirmHost } from "./components/confirm";
import { LiveIndicator } from "./components/LiveIndicator";
import { TokenButton } from "./components/TokenButton";
import { Empty } from "./components/basics";
import { href, route, type Route } from "./route";
import { open } from "./state/store";
import { Access } from "./screens/Access";
import { Alarms } from "./screens/Alarms";
import { Fleet } from "./screens/Fleet";
import { Log } from "./screens/Log";
import { Miner } from "./screens/Miner";
import { Models } from "./screens/Models";
import { Site } from "./screens/Site";

const SECTIONS = [
  ["/", "Fleet", ["fleet", "site", "miner"]],
  ["/alarms", "Alarms", ["alarms"]],
  ["/log", "Log", ["log"]],
  ["/models", "Models", ["models"]],
  ["/access", "Access", ["access"]],
] as const;

function screenOf(at: Route): JSX.Element {
  switch (at.screen) {
    case "fleet": return <Fleet />;
    case "site": return <Site key={at.site} id={at.site} />;
    case "miner": return <Miner key={`${at.site}/${at.device}`} site={at.site} id={at.device} />;
    case "alarms": return <Alarms />;
    case "log": return <Log />;
    case "models": return <Models />;
    case "access": return <Access />;
    case "lost": return <Empty title="There is no such page"><a href={href("/")}>To the fleet</a></Empty>;
  }
}

function titleOf(at: Route, urgent: number): string {
  const names = { fleet: "Fleet", site: at.screen === "site" ? at.site : "", miner: at.screen === "miner" ? at.device : "", alarms: "Alarms", log: "Log", models: "Models", access: "Access", lost: "Not found" };
  return `${urgent ? `(${urgent}!) ` : ""}${names[at.screen]} · Minewarden`;
}

export function App(): JSX.Element {
  const urgent = open.value.filter((alarm) => alarm.severity === "urgent").length;
  const at = route.value;
  useEffect(() => {
    document.title = titleOf(at, urgent);
  }, [at, urgent]);
  return (
    <>
      <a class="skip" href="#main" onClick={(event) => {
        // The address holds the route, so the jump is made by hand.
        event.preventDefault();
        document.getElementById("main")?.focus();
      }}>Skip to content</a>
      <header class="top">
        <a class="brand" href={href("/")}><span class="brand-mark" aria-hidden="true">M</span>Minewarden</a>
        <nav class="sections" aria-label="Sections">
          {SECTIONS.map(([path, label, screens]) => (
            <a key={path} href={href(path)} {...((screens as readonly string[]).includes(at.screen) ? { "aria-current": "page" as const } : {})}>
              {label}
              {label === "Alarms" && open.value.length ? (
                <span class={urgent ? "pill urgent" : "pill"}>{open.value.length}<span class="sr"> open</span></span>
              ) : null}
            </a>
          ))}
        </nav>
        <div class="top-right"><LiveIndicator /><TokenButton /></div>
      </header>
      <main id="main" tabIndex={-1}>{screenOf(at)}</main>
      <ConfirmHost />
    </>
  );
}
