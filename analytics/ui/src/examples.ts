// Scenarios to begin with, as in examples/scenarios. A session names no host, path or secret of an agent.

export interface Example {
  name: string;
  toml: string;
}

export const EXAMPLES: readonly Example[] = [
  {
    name: "workers",
    toml: `# Ten users, each of whom waits for its answer.
directory = "https://localhost:14000/dir"
workers = 10
run_time = "5m"
`,
  },
  {
    name: "a rate of issuances",
    toml: `# Independent users: chains start when they are due, however slow the answers are.
directory = "https://localhost:14000/dir"
rate = "20/s"
spacing = "poisson"
workers = 200
run_time = "10m"
thresholds = ["chain.certificate{p(95)} < 2s", "requests{failed} < 1%"]

[weights]
registration = 1
authorization = 8
certificate = 8
refresh = 4
revoke = 0
`,
  },
  {
    name: "a ramp",
    toml: `# At how many users does the CA fail?
directory = "https://localhost:14000/dir"
workers = 10
stages = [
    { duration = "10m", workers = 500 },
    { duration = "5m", workers = 500 },
]
think_time = "1s..3s"
`,
  },
  {
    name: "two loads side by side",
    toml: `# Constant issuance, and a peak of renewals in its middle.
directory = "https://localhost:14000/dir"

[scenarios.everyday]
rate = "20/s"
run_time = "10m"

[scenarios.storm]
start_at = "3m"
rate = "0/s"
stages = [
    { duration = "30s", rate = "200/s" },
    { duration = "2m", rate = "200/s" },
    { duration = "30s", rate = "0/s" },
]
workers = 2000

[scenarios.storm.weights]
registration = 0
authorization = 0
certificate = 0
refresh = 1
revoke = 0
`,
  },
];
