import { render } from "preact";
import "./main.css";
import { App } from "./app";
import { takeHandedToken } from "./core/signing-in";

takeHandedToken();

render(<App />, document.getElementById("app")!);
