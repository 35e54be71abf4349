import { render } from "preact";
import { App } from "./app";
import { follow } from "./live/stream";
import { startRouting } from "./route";
import { startClock } from "./state/clock";
import { keepSession } from "./state/session";
import { receive } from "./state/store";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/layout.css";
import "./styles/parts.css";
import "./styles/heat.css";
import "./styles/campaigns.css";
import "./styles/access.css";

startRouting();
startClock();
keepSession();
void follow(receive);

const root = document.getElementById("app");
if (root) render(<App />, root);
