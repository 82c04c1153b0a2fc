import { render } from "preact";
import { App } from "./app/app.tsx";
import "./style.css";

render(<App />, document.getElementById("app")!);
