import { describe, expect, it } from "vitest";

import { clamp, steps, WorkersControl, type Wish } from "./workers";

/** A server that answers when the test says so. */
function server() {
  const asked: number[] = [];
  const answers: ((response: Response | Error) => void)[] = [];
  const wishes: Wish[] = [];
  const control = new WorkersControl(
    (wish) => wishes.push(wish),
    (_, init) => {
      asked.push((JSON.parse(String(init.body)) as { workers: number }).workers);
      return new Promise((resolve, reject) =>
        answers.push((answer) => (answer instanceof Error ? reject(answer) : resolve(answer))),
      );
    },
  );
  return { control, asked, wishes, answer: (response: Response | Error) => answers.shift()?.(response) };
}

const ok = () => new Response("{}", { status: 200 });

describe("a change of the number of workers", () => {
  it("is pending until the server has taken it", async () => {
    const page = server();
    const done = page.control.ask(80);
    expect(page.wishes.at(-1)).toEqual({ wanted: 80, problem: "" });
    page.answer(ok());
    await done;
    expect(page.asked).toEqual([80]);
    expect(page.wishes.at(-1)).toEqual({ wanted: null, problem: "" });
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
    expect(page.wishes.at(-1)).toEqual({ wanted: null, problem: "" });
  });

  it("that is refused shows the server's words and is pending no more", async () => {
    const page = server();
    const done = page.control.ask(5);
    page.answer(new Response('{"error":"the board has no session"}', { status: 404 }));
    await done;
    expect(page.wishes.at(-1)).toEqual({ wanted: null, problem: "the board has no session" });
  });

  it("that gets no answer says that nothing was changed", async () => {
    const page = server();
    const done = page.control.ask(5);
    page.answer(new TypeError("Failed to fetch"));
    await done;
    expect(page.wishes.at(-1)?.problem).toMatch(/could not be reached/);
  });

  it("after a refusal goes through all the same", async () => {
    const page = server();
    const done = page.control.ask(5);
    void page.control.ask(6);
    page.answer(new Response("", { status: 503 }));
    await expect.poll(() => page.asked).toEqual([5, 6]);
    page.answer(ok());
    await done;
    expect(page.wishes.at(-1)).toEqual({ wanted: null, problem: "" });
  });
});

describe("the quick steps", () => {
  it.each([
    [0, [1, 10]],
    [7, [1, 10]],
    [50, [1, 10]],
    [100, [10, 100]],
    [5_000, [100, 1_000]],
  ])("at %s workers are %s", (workers, wanted) => expect(steps(workers)).toEqual(wanted));
});

it("stays within what the API takes", () => {
  expect([clamp(-3), clamp(2.4), clamp(2e6)]).toEqual([0, 2, 1_000_000]);
});
