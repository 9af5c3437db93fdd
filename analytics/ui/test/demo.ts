// Starts `wec` in its several forms for the browser tests, and ends it.

import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

export interface Demo {
  /** The address of its page. */
  page: URL;
  /** Its working directory: printed paths are relative to it. */
  folder: string;
  /** Its exit code, when it has ended. */
  ended: Promise<number | null>;
  /** Kills it and removes its files. */
  end(): Promise<void>;
}

/** A run in a folder of its own, with a page on a free port. */
export function startDemo(workers: number, thresholds: readonly string[] = []): Promise<Demo> {
  const held = thresholds.flatMap((threshold) => ["--threshold", threshold]);
  return start(["demo", "--workers", String(workers), "--run-time", "20m", "--listen", "127.0.0.1:0", ...held]);
}

/** The replay of a log. */
export function startReplay(log: string, speed: number): Promise<Demo> {
  return start(["replay", "--speed", String(speed), "--listen", "127.0.0.1:0", log]);
}

/** The runs of a folder. */
export function startServe(folder: string): Promise<Demo> {
  return start(["serve", "--listen", "127.0.0.1:0", folder]);
}

/** A CA whose newOrder fails now and then, and a run against it for this many seconds. */
export async function startFailing(seconds: number): Promise<{ ca: Demo; run: Demo }> {
  const ca = await start(["null-ca", "--listen", "127.0.0.1:0", "--root-out", "root.pem", "--fault", "newOrder=500:20%"]);
  const directory = ca.page.href;
  const root = join(ca.folder, "root.pem");
  const flags = ["--cacert", root, "--workers", "6", "--run-time", `${seconds}s`, "--http01-listen", "127.0.0.1:0"];
  try {
    const run = await start(["run", "--directory", directory, ...flags, "--listen", "127.0.0.1:0", "--keep-page", "off", "--threshold", "requests{failed} < 1%"]);
    return { ca, run };
  } catch (error) {
    await ca.end();
    throw error;
  }
}

async function start(args: string[]): Promise<Demo> {
  const program = process.env["WEC_BIN"] ?? resolve(import.meta.dirname, "../../../target/debug/wec");
  if (!existsSync(program)) {
    throw new Error(`${program} does not exist: build it with \`cargo build\`, or name another by WEC_BIN`);
  }
  const folder = await mkdtemp(join(tmpdir(), "wec-page-"));
  const child = spawn(program, args, {
    cwd: folder,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const exited = once(child, "exit") as Promise<[number | null]>;
  const end = async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
    await exited;
    await rm(folder, { recursive: true, force: true });
  };
  try {
    return {
      page: await addressPrinted(child),
      folder,
      ended: exited.then(([code]) => code),
      end,
    };
  } catch (error) {
    await end();
    throw error;
  }
}

/** The first loopback address that it prints as that of a page, or of a CA. */
function addressPrinted(child: ChildProcess): Promise<URL> {
  return new Promise((found, failed) => {
    let said = "";
    const read = (chunk: Buffer) => {
      said += chunk.toString();
      const address = /\b(?:page|replay|runs)\b.*?(http:\/\/127\.0\.0\.1:\d+\/)/i.exec(said)?.[1] ?? /^https:\/\/127\.0\.0\.1:\d+\/\S*/m.exec(said)?.[0];
      if (address !== undefined) found(new URL(address));
    };
    child.stdout?.on("data", read);
    child.stderr?.on("data", read);
    child.on("error", failed);
    child.on("exit", (code) => failed(new Error(`wec ended with ${code} before it said where its page is:\n${said}`)));
  });
}
