import { mount } from "svelte";

import App from "./App.svelte";
import "uplot/dist/uPlot.min.css";
import "./chains.css";
import "./page.css";

const target = document.getElementById("page");
if (target === null) throw new Error("index.html has no element with the id page");
mount(App, { target });
