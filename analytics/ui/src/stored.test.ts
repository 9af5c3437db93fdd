import { expect, it } from "vitest";

import { storedObjects } from "./stored";
import { live, NO_TIMING, series } from "./testing";
import type { Snapshot } from "./wire";

function run(): Snapshot {
  const { snapshot } = live(series([]));
  snapshot.state = { ...snapshot.state, registrations: 7, authorizations: 2, certificates: 3 };
  return snapshot;
}

const of = (snapshot: Snapshot, id: string, limit?: number) => {
  const limits = limit === undefined ? undefined : { registrations: limit, authorizations: limit, certificates: limit };
  return storedObjects(snapshot, snapshot, limits).find((object) => object.id === id) ?? expect.fail(id);
};

it("every chain that makes ready orders counts", () => {
  const snapshot = run();
  const { chains } = snapshot;
  for (const chain of Object.values(chains)) Object.assign(chain, { count: 0, failed: 0, abandoned: 0 });
  Object.assign(chains.authorization, { count: 10, failed: 2, abandoned: 1 });
  Object.assign(chains["pre-authorization"], { count: 5, failed: 1 });
  expect(of(snapshot, "authorizations")).toMatchObject({ now: 2, made: 11, by: "authorization, pre-authorization" });
});

it("accounts that other chains make for themselves count", () => {
  const snapshot = run();
  snapshot.chains.registration.count = 1;
  const phases = { new: 0, reused: 0, dns_ns: NO_TIMING, connect_ns: NO_TIMING, tls_ns: NO_TIMING, first_byte_ns: NO_TIMING };
  const endpoint = { endpoint: "newAccount", method: "POST", uri: "/acct", count: 9, failed: 2, cut_off: 1, outcome_unknown: 0, rps: 0, bytes_received: 0, phases, response_time_ns: NO_TIMING, service_time_ns: NO_TIMING, failed_response_time_ns: NO_TIMING, failed_service_time_ns: NO_TIMING, slowest: [] };
  snapshot.endpoints = [endpoint, { ...endpoint, endpoint: "newOrder", count: 50 }];
  expect(of(snapshot, "registrations").made).toBe(6);
});

it("a limit is reached by what the run made, or by what is stored from earlier ones", () => {
  const snapshot = run();
  snapshot.issued.count = 1;
  expect(of(snapshot, "certificates", 4).reached).toBe(false);
  expect(of(snapshot, "certificates", 3).reached, "three are stored").toBe(true);
  snapshot.issued.count = 4;
  expect(of(snapshot, "certificates", 4).reached, "one was revoked").toBe(true);
  expect(of(snapshot, "certificates").reached, "there is no limit").toBe(false);
});
