// Starts `wec` in its several forms for the browser tests, and ends it.

import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
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

/** The runs of a folder, for those who have the token, if there is one. */
export function startServe(folder: string, token?: string): Promise<Demo> {
  return start(["serve", "--listen", "127.0.0.1:0", folder], { env: token === undefined ? {} : { WEC_TOKEN: token } });
}

/** A Pebble that takes every validation for a success, and a run against it that logs into this folder. */
export async function startPebble(seconds: number, logs: string): Promise<{ ca: Demo; run: Demo }> {
  const port = await freePort();
  const ca = await start(["-config", "pebble.json"], {
    program: "pebble",
    env: { PEBBLE_VA_ALWAYS_VALID: "1", PEBBLE_VA_NOSLEEP: "1", PEBBLE_WFE_NONCEREJECT: "0" },
    before: async (folder) => {
      for (const args of [["init"], ["issue", "localhost"]]) spawnSync(wec(), ["pki", ...args, "--dir", join(folder, "pki")]);
      const pebble = { listenAddress: `127.0.0.1:${port}`, managementListenAddress: `127.0.0.1:${await freePort()}`, certificate: "pki/localhost.pem", privateKey: "pki/localhost-key.pem", httpPort: 5002, tlsPort: 5001 };
      await writeFile(join(folder, "pebble.json"), JSON.stringify({ pebble }));
    },
  });
  const flags = ["--cacert", join(ca.folder, "pki/ca.pem"), "--workers", "4", "--run-time", `${seconds}s`, "--http01-listen", "127.0.0.1:0", "--log-dir", logs];
  try {
    const run = await start(["run", "--directory", `https://localhost:${port}/dir`, ...flags, "--listen", "127.0.0.1:0", "--keep-page", "off"]);
    return { ca, run };
  } catch (error) {
    await ca.end();
    throw error;
  }
}

/** Analytics with a token for each of two people, null-ca and a requester, which share a board. */
export interface Shared {
  page: URL;
  /** Ends all of it. */
  end(): Promise<void>;
}

export async function startShared(tokens: string, steering: string): Promise<Shared> {
  const ca = await start(["null-ca", "--listen", "127.0.0.1:0", "--root-out", "root.pem"]);
  const [results, statistics] = [`127.0.0.1:${await freePort()}`, `127.0.0.1:${await freePort()}`];
  const started: Demo[] = [ca];
  const end = async () => {
    for (const one of started.reverse()) await one.end();
  };
  const board = ["--board", `sqlite://${join(ca.folder, "board.db")}`];
  try {
    const analytics = await start(["analytics", "--listen", "127.0.0.1:0", "--grpc-listen", results, ...board, "--tokens", "tokens", "--node-stats", statistics], {
      before: (folder) => writeFile(join(folder, "tokens"), tokens, { mode: 0o600 }),
    });
    started.push(analytics);
    const flags = ["--analytics", `http://${results}`, ...board, "--directory", ca.page.href, "--cacert", join(ca.folder, "root.pem"), "--node-stats", "127.0.0.1:0"];
    started.push(await start(["requester", ...flags, "--workers", "3", "--run-time", "5m", "--http01-listen", "127.0.0.1:0"], { env: { WEC_TOKEN: steering }, page: analytics.page }));
    return { page: analytics.page, end };
  } catch (error) {
    await end();
    throw error;
  }
}

/** A CA, and a page whose sessions agents can run. */
export interface Joinable {
  page: URL;
  /** The CA's directory. */
  directory: string;
  /** Starts an agent by the command that the page gives. */
  join(command: string): Promise<void>;
  /** Ends all of it. */
  end(): Promise<void>;
}

export async function startJoinable(): Promise<Joinable> {
  const ca = await start(["null-ca", "--listen", "127.0.0.1:0", "--root-out", "root.pem"]);
  const started: Demo[] = [ca];
  const end = async () => {
    for (const one of started.reverse()) await one.end();
  };
  try {
    const results = `127.0.0.1:${await freePort()}`;
    const analytics = await start(["analytics", "--listen", "127.0.0.1:0", "--grpc-listen", results, "--board", "sqlite://board.db"]);
    started.push(analytics);
    const joinBy = async (command: string) => {
      const [program, ...args] = command.split(" ");
      if (program !== "wec") throw new Error(`${command} does not start wec`);
      // What belongs to this machine: the CA's root, and ports of its own.
      const own = ["--cacert", join(ca.folder, "root.pem"), "--http01-listen", "127.0.0.1:0", "--admin-listen", "off", "--no-calibration", "--name", "a1"];
      started.push(await start([...args, ...own], { page: analytics.page }));
    };
    return { page: analytics.page, directory: ca.page.href, join: joinBy, end };
  } catch (error) {
    await end();
    throw error;
  }
}

/** A port of loopback on which nobody listens. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

/** A CA whose newOrder fails now and then, and a run against it for this many seconds. */
export function startFailing(seconds: number): Promise<{ ca: Demo; run: Demo }> {
  const flags = ["--workers", "6", "--run-time", `${seconds}s`, "--http01-listen", "127.0.0.1:0", "--keep-page", "off", "--threshold", "requests{failed} < 1%"];
  return startAgainst(["--fault", "newOrder=500:20%"], ["run", ...flags]);
}

/** The same, where the CA fetches each key authorization. */
export async function startValidating(seconds: number): Promise<{ ca: Demo; run: Demo }> {
  const challenges = `127.0.0.1:${await freePort()}`;
  const flags = ["--workers", "6", "--run-time", `${seconds}s`, "--http01-listen", challenges, "--keep-page", "off", "--threshold", "requests{failed} < 10%", "--threshold", "chain.certificate{p(95)} < 500ms"];
  return startAgainst(["--fault", "newOrder=500:5%", "--latency", "15ms..60ms", "--http01", challenges], ["run", ...flags]);
}

/** A search for the rate of chains that a CA sustains, where it answers forty orders a second. */
export function startSearch(): Promise<{ ca: Demo; run: Demo }> {
  const steps = ["--from", "5/s", "--step-time", "6s", "--settle", "2s..6s", "--recover", "20s", "--resolution", "15%", "--hold", "6s"];
  return startAgainst(["--serve", "newOrder=40/s:200"], ["capacity", ...steps, "--workers", "200", "--http01-listen", "127.0.0.1:0", "--keep-page", "on"]);
}

/** A CA with these faults, and a command with a page against it. */
async function startAgainst(faults: readonly string[], command: readonly string[]): Promise<{ ca: Demo; run: Demo }> {
  const ca = await start(["null-ca", "--listen", "127.0.0.1:0", "--root-out", "root.pem", ...faults]);
  try {
    const run = await start([...command, "--directory", ca.page.href, "--cacert", join(ca.folder, "root.pem"), "--listen", "127.0.0.1:0"]);
    return { ca, run };
  } catch (error) {
    await ca.end();
    throw error;
  }
}

function wec(): string {
  const program = process.env["WEC_BIN"] ?? resolve(import.meta.dirname, "../../../target/debug/wec");
  if (!existsSync(program)) {
    throw new Error(`${program} does not exist: build it with \`cargo build\`, or name another by WEC_BIN`);
  }
  return program;
}

/** What `wec` prints when it succeeds. */
export function printed(args: string[], folder: string): string {
  const { status, stdout, stderr } = spawnSync(wec(), args, { cwd: folder, encoding: "utf8" });
  if (status !== 0) throw new Error(`wec ${args.join(" ")} ended with ${status}: ${stderr}`);
  return stdout;
}

interface Started {
  program?: string;
  /** Variables beside those of this process. */
  env?: Record<string, string>;
  /** Makes what the program needs in its folder. */
  before?: (folder: string) => Promise<void>;
  /** Its page, if it prints none of its own. */
  page?: URL;
}

async function start(args: string[], { program = wec(), env = {}, before, page }: Started = {}): Promise<Demo> {
  const folder = await mkdtemp(join(tmpdir(), "wec-page-"));
  await before?.(folder);
  const child = spawn(program, args, {
    cwd: folder,
    env: { ...process.env, ...env },
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
      page: page ?? (await addressPrinted(child)),
      folder,
      ended: exited.then(([code]) => code),
      end,
    };
  } catch (error) {
    await end();
    throw error;
  }
}

/** The first loopback address that it prints as that of a page, or of a CA's directory. */
function addressPrinted(child: ChildProcess): Promise<URL> {
  return new Promise((found, failed) => {
    let said = "";
    const read = (chunk: Buffer) => {
      said += chunk.toString();
      const address = /\b(?:page|replay|runs)\b.*?(http:\/\/127\.0\.0\.1:\d+\/)/i.exec(said)?.[1] ?? /^https:\/\/127\.0\.0\.1:\d+\/\S*/m.exec(said)?.[0] ?? /directory available at: (https:\S+)/.exec(said)?.[1];
      if (address !== undefined) found(new URL(address));
    };
    child.stdout?.on("data", read);
    child.stderr?.on("data", read);
    child.on("error", failed);
    child.on("exit", (code) => failed(new Error(`wec ended with ${code} before it said where its page is:\n${said}`)));
  });
}
