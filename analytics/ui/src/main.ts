import { mount } from "svelte";

import App from "./App.svelte";
import "uplot/dist/uPlot.min.css";
import "./tokens.css";
import "./chains.css";
import "./page.css";
import { keepFocus } from "./focus";
import { applyTheme, storedTheme } from "./theme";

const target = document.getElementById("page");
if (target === null) throw new Error("index.html has no element with the id page");
applyTheme(storedTheme());
keepFocus();
mount(App, { target });
