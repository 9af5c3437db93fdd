// `npm run dev`, /dev/gallery.html: the page's components in all their states, side by side. Never part of a build.
import { flushSync, mount } from "svelte";

import "uplot/dist/uPlot.min.css";
import "../src/tokens.css";
import "../src/chains.css";
import "../src/page.css";
import { applyTheme, storedTheme } from "../src/theme";
import Gallery from "./Gallery.svelte";

const target = document.getElementById("page");
if (target === null) throw new Error("gallery.html has no element with the id page");
applyTheme(storedTheme());
mount(Gallery, { target });
// Some components scroll to themselves or take the focus when they are made.
flushSync();
window.scrollTo(0, 0);
