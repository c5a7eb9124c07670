import { render } from "preact";
import "./main.css";
import { App } from "./app";
import { applyTheme } from "./core/theme";
import { takeHandedToken } from "./core/signing-in";

applyTheme();
takeHandedToken();

const root = document.getElementById("app")!;
root.replaceChildren();
render(<App />, root);
