import { describe, expect, it } from "vitest";

import openapi from "../../../docs/openapi.json";
import { Asking, changeScenario, changeSession, differing, MOST_WEIGHT, steps, type Wish } from "./control";

/** A server that answers when the test says so. */
function server() {
  const asked: number[] = [];
  const answers: ((response: Response | Error) => void)[] = [];
  const wishes: Wish<number>[] = [];
  const send = (_: string, init: RequestInit) => {
    asked.push((JSON.parse(String(init.body)) as { workers: number }).workers);
    return new Promise<Response>((resolve, reject) =>
      answers.push((answer) => (answer instanceof Error ? reject(answer) : resolve(answer))),
    );
  };
  const control = new Asking<number>(
    (wish) => wishes.push(wish),
    (workers) => changeScenario("s", "default", { workers }, send),
  );
  return { control, asked, wishes, answer: (response: Response | Error) => answers.shift()?.(response) };
}

const ok = () => new Response("{}", { status: 200 });

describe("a change", () => {
  it("is pending until the server has taken it", async () => {
    const page = server();
    const done = page.control.ask(80);
    expect(page.wishes.at(-1)).toEqual({ wanted: 80, problem: "" });
    page.answer(ok());
    await done;
    expect(page.asked).toEqual([80]);
    expect(page.wishes.at(-1)).toEqual({ wanted: undefined, problem: "" });
  });

  it("made again before the answer is sent after it, the last one only", async () => {
    const page = server();
    const done = page.control.ask(51);
    void page.control.ask(52);
    void page.control.ask(53);
    expect(page.asked).toEqual([51]);
    page.answer(ok());
    await expect.poll(() => page.asked).toEqual([51, 53]);
    page.answer(ok());
    await done;
    expect(page.wishes.at(-1)).toEqual({ wanted: undefined, problem: "" });
  });

  it("that is refused shows the server's words and is pending no more", async () => {
    const page = server();
    const done = page.control.ask(5);
    page.answer(new Response('{"error":"the board has no session"}', { status: 404 }));
    await done;
    expect(page.wishes.at(-1)).toEqual({ wanted: undefined, problem: "the board has no session" });
  });

  it("that the plan cannot have says so", async () => {
    const page = server();
    const done = page.control.ask(5);
    page.answer(new Response('{"not_in_plan":["fleet_speed: too slow"],"changes":[]}', { status: 200 }));
    await done;
    expect(page.wishes.at(-1)?.problem).toMatch(/^in force, but not in the session’s plan.*: fleet_speed: too slow$/);
  });

  it.each<[string, Response | Error, RegExp]>([
    ["that gets no answer", new TypeError("Failed to fetch"), /could not be reached; nothing was changed/],
    ["that gets a strange answer", new Response("<h1>", { status: 502 }), /answered 502; nothing was changed/],
    ["without the token", new Response('{"error":"a token"}', { status: 401 }), /reload this page to log in/],
  ])("%s says so", async (_, answer, problem) => {
    const page = server();
    const done = page.control.ask(5);
    page.answer(answer);
    await done;
    expect(page.wishes.at(-1)?.problem).toMatch(problem);
  });

  it("after a refusal goes through all the same", async () => {
    const page = server();
    const done = page.control.ask(5);
    void page.control.ask(6);
    page.answer(new Response("", { status: 503 }));
    await expect.poll(() => page.asked).toEqual([5, 6]);
    page.answer(ok());
    await done;
    expect(page.wishes.at(-1)).toEqual({ wanted: undefined, problem: "" });
  });

  it("goes to the session or to the scenario by its name", async () => {
    const asked: [string, string | undefined, unknown][] = [];
    const send = (url: string, init: RequestInit) => {
      asked.push([url, init.method, init.body]);
      return Promise.resolve(ok());
    };
    await changeSession("a b", { limits: { certificates: null } }, send);
    await changeScenario("a b", "open one/2", { rate: 0.5 }, send);
    expect(asked).toEqual([
      ["api/v1/sessions/a%20b", "PATCH", '{"limits":{"certificates":null}}'],
      ["api/v1/sessions/a%20b/scenarios/open%20one%2F2", "PATCH", '{"rate":0.5}'],
    ]);
  });
});

describe("the quick steps", () => {
  it.each([
    [0, [1, 10]],
    [7, [1, 10]],
    [50, [1, 10]],
    [100, [10, 100]],
    [5_000, [100, 1_000]],
  ])("at %s are %s", (workers, wanted) => expect(steps(workers)).toEqual(wanted));
});

it("has the bound of the API", () => {
  const { weights } = openapi.components.schemas.ScenarioPatch.properties;
  for (const weight of Object.values(weights.properties)) expect(weight.maximum).toBe(MOST_WEIGHT);
});

it("asks only for what is different", () => {
  expect(differing({ a: 1, b: 2, c: 3 }, { a: 1, b: 5, c: undefined })).toEqual({ b: 5 });
  expect(differing<number | null>({ a: 1, b: null }, { a: null, b: null })).toEqual({ a: null });
});
