// The parts of an iteration's time and the phases of a request: their keys, labels and words.

import type { TimeFigures } from "./wire";

/** The parts of the time of a successful iteration; they add up. */
export const PARTS: readonly { key: keyof TimeFigures; label: string; title: string }[] = [
  { key: "requests_ns", label: "in requests", title: "Sent to done of all attempts: the CA and the network" },
  { key: "connecting_ns", label: "connecting", title: "DNS, TCP and TLS of new connections: the CA and the network" },
  { key: "asked_ns", label: "waited as asked", title: "Waits that the CA asked for (Retry-After)" },
  { key: "polls_ns", label: "our interval", title: "Further waits for our poll interval or back-off" },
  { key: "keys_ns", label: "keys", title: "Keys and CSRs: the load tester" },
  { key: "own_ns", label: "own", title: "The rest: the load tester" },
];

/** The phases of a request. */
export const PHASES = [
  { key: "dns_ns", label: "DNS", title: "Resolving the server’s name, if necessary" },
  { key: "connect_ns", label: "connect", title: "Making new TCP connections" },
  { key: "tls_ns", label: "TLS", title: "Handshakes of new connections" },
  { key: "first_byte_ns", label: "first byte", title: "From sent to the head of the answer" },
] as const;
