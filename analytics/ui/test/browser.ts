// What the browser tests share: Chromium, what it complains of, and what they look at.

import axe from "axe-core";
import { chromium, type Browser, type Page } from "playwright-core";

import { TABS } from "../src/address";

const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
export const PATIENCE = 120_000;
export const POLL = { timeout: PATIENCE, interval: 100 };

/** A page in headless Chromium. */
export class Opened {
  /** Errors in the browser's console. */
  readonly complaints: string[] = [];

  private constructor(
    private readonly browser: Browser,
    readonly page: Page,
  ) {
    page.setDefaultTimeout(PATIENCE);
    page.on("console", (message) => {
      if (message.type() === "error" || message.type() === "warning") this.complaints.push(`${message.text()} ${message.location().url}`.trim());
    });
    page.on("pageerror", (error) => this.complaints.push(error.message));
  }

  static async at(url: string): Promise<Opened> {
    const executablePath = process.env["CHROMIUM"] ?? "/usr/bin/chromium";
    const browser = await chromium.launch({ executablePath, args: FLAGS, timeout: PATIENCE });
    const opened = new Opened(browser, await browser.newPage({ viewport: { width: 1440, height: 900 } }));
    // An init script is not subject to the page's policy, which forbids scripts of others.
    await opened.page.addInitScript({ content: axe.source });
    await opened.page.goto(url);
    return opened;
  }

  close(): Promise<void> {
    return this.browser.close();
  }

  /** The processes of the browser, with their processor time, seconds. */
  async processes(): Promise<{ processes: { type: string; id: number; cpuTime: number }[] }> {
    const session = await this.browser.newBrowserCDPSession();
    const { processInfo } = await session.send("SystemInfo.getProcessInfo");
    await session.detach();
    return { processes: processInfo };
  }

  async text(selector: string): Promise<string> {
    return (await this.page.locator(selector).first().innerText()).trim();
  }

  /** A count as a number; thin spaces separate its groups. */
  async number(selector: string): Promise<number> {
    return Number((await this.text(selector)).replace(/[^\d.]/g, ""));
  }

  figure(name: string): Promise<number> {
    return this.number(`[data-figure="${name}"]`);
  }

  /** Points of a chart. */
  points(chart: string): Promise<number> {
    return this.page.locator(`[data-chart="${chart}"]`).getAttribute("data-points").then(Number);
  }

  /** Opens a tab by its link. */
  async tab(label: (typeof TABS)[number]["label"]): Promise<void> {
    await this.page.getByRole("navigation", { name: "Views" }).getByRole("link", { name: label }).click();
  }

  /** How much wider the page is than its window. */
  beyond(): Promise<number> {
    return this.page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  }

  /** The number of pages that it prints on. */
  async printed(): Promise<number> {
    const pdf = await this.page.pdf({ format: "A4", preferCSSPageSize: true });
    return (pdf.toString("latin1").match(/\/Type\s*\/Page\b/g) ?? []).length;
  }

  /** What axe finds wrong with the page as it is, one line each. */
  async violations(): Promise<string[]> {
    const found = await this.page.evaluate(async () => {
      const { axe } = window as unknown as { axe: { run(options: object): Promise<{ violations: { id: string; nodes: { html: string; failureSummary: string }[] }[] }> } };
      const { violations } = await axe.run({ resultTypes: ["violations"] });
      return violations.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map(({ html, failureSummary }) => `${html.slice(0, 160)} (${failureSummary})`).join("; ")}`);
    });
    return found;
  }

  /** Headings and figures that the help of their panel lacks. Each help is opened and closed by keyboard. */
  async unexplained(): Promise<string[]> {
    const missing: string[] = [];
    for (const button of await this.page.locator("button[data-help]").all()) {
      await button.press("Enter");
      await this.page.locator("[popover]:popover-open p").first().waitFor();
      const found = await button.evaluate((button) => {
        const terms = [...document.querySelectorAll("[popover]:popover-open dt")].map((term) => term.textContent);
        const headings = [...(button.closest(".panel, header")?.querySelectorAll("th[scope=col]:not([data-given]), dt, .label") ?? [])].filter((heading) => heading.closest("[popover]") === null);
        const text = (heading: Element) => {
          const copy = heading.cloneNode(true) as Element;
          for (const given of copy.querySelectorAll("[data-given]")) given.remove();
          return (copy.textContent ?? "").replace(/ [↓↑]$/, "").trim();
        };
        return headings.map(text).filter((heading) => heading !== "" && !terms.includes(heading)).map((heading) => `${(button as HTMLElement).dataset["help"]}: ${heading}`);
      });
      missing.push(...found);
      await this.page.keyboard.press("Escape");
      await this.page.locator("[popover]:popover-open").waitFor({ state: "detached" });
    }
    return missing;
  }

  /** Controls that are smaller than 24 px on a side and are not within text. */
  smallTargets(): Promise<string[]> {
    return this.page.evaluate(() => {
      const all = [...document.querySelectorAll<HTMLElement>("button, input, select, summary, nav a, a.row, a.tile, a.action, a.alarm")];
      return all
        .filter((part) => part.checkVisibility())
        .map((part) => ({ part, box: part.getBoundingClientRect() }))
        .filter(({ part, box }) => !(part instanceof HTMLInputElement && part.type === "checkbox" && part.closest("label") !== null) && (box.width < 24 || box.height < 23.5) && box.width > 0)
        .map(({ part, box }) => `${part.outerHTML.slice(0, 100)} ${box.width.toFixed(1)} × ${box.height.toFixed(1)}`);
    });
  }

  /** Pixels of a chart that have the colour of a custom property. */
  pixels(chart: string, property: string): Promise<number> {
    return this.page.evaluate(
      ([chart, property]) => {
        const canvas = document.querySelector<HTMLCanvasElement>(`[data-chart="${chart}"] canvas`);
        if (!canvas) return 0;
        // Read from a copy, because reading from the page's canvas would change how it is drawn.
        const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
        if (!copy) return 0;
        copy.drawImage(canvas, 0, 0);
        const probe = document.createElement("i");
        probe.style.color = `var(${property})`;
        document.body.append(probe);
        const [r, g, b] = (getComputedStyle(probe).color.match(/\d+/g) ?? []).map(Number);
        probe.remove();
        const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
        let found = 0;
        for (let at = 0; at < data.length; at += 4) {
          if (data[at] === r && data[at + 1] === g && data[at + 2] === b && data[at + 3] === 255) found += 1;
        }
        return found;
      },
  [chart, property] as const,
    );
  }
}
