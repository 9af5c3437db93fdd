import { describe, expect, it } from "vitest";

import { axisOf, chosen, partOf, periodSaid, rolls, zoomed } from "./period";

const live = { started: 1000, until: 1300, ended: false };
const ended = { ...live, ended: true };

it("without a choice shows the latest of a run that goes on, and all of one that is over", () => {
  expect(chosen(null, live)).toEqual({ last: 120 });
  expect(chosen(null, ended)).toEqual({ last: Infinity });
  expect(chosen({ last: 600 }, ended)).toEqual({ last: 600 });
});

describe("the axis", () => {
  it.each<[Parameters<typeof axisOf>[0], [number, number]]>([
    [{ last: 120 }, [1180, 1300]],
    [{ last: 600 }, [1000, 1300]],
    [{ last: Infinity }, [1000, 1300]],
    [{ from: 60, to: 90 }, [1060, 1090]],
  ])("of %j", (period, axis) => expect(axisOf(period, live)).toEqual(axis));

  it("is never shorter than twenty seconds", () => {
    expect(axisOf({ last: 120 }, { started: 1000, until: 1003, ended: false })).toEqual([983, 1020]);
  });
});

describe("the part whose figures the tables have", () => {
  it("is the chosen one, whether the run is over or not", () => {
    const part = { from_ns: 60e9, to_ns: 90.5e9 };
    expect(partOf({ from: 60, to: 90.5 }, live)).toEqual(part);
    expect(partOf({ from: 60, to: 90.5 }, ended)).toEqual(part);
  });

  it("is the end of a run, with its last record, and moves with one that goes on", () => {
    const part = { from_ns: 180e9, to_ns: 300e9 + 1 };
    expect([partOf({ last: 120 }, ended), partOf({ last: 120 }, live)]).toEqual([part, part]);
    expect([rolls({ last: 120 }, ended), rolls({ last: 120 }, live)]).toEqual([false, true]);
    expect(rolls({ from: 60, to: 90 }, live)).toBe(false);
  });

  it("is none for a whole run", () => {
    expect(partOf({ last: 600 }, ended)).toBeNull();
    expect(partOf({ last: Infinity }, live)).toBeNull();
    expect([rolls({ last: 600 }, live), rolls({ last: Infinity }, live)]).toEqual([false, false]);
  });
});

describe("a part that was dragged", () => {
  it("is rounded, cut to the run, and may be dragged from its end", () => {
    expect(zoomed(1010.04, 1020.06, live)).toEqual({ from: 10, to: 20.1 });
    expect(zoomed(1310, 900, live)).toEqual({ from: 0, to: 300 });
  });

  it("of less than a second is none", () => {
    expect(zoomed(1010, 1010.4, live)).toBeNull();
    expect(zoomed(1400, 1500, live)).toBeNull();
  });
});

it("is said in the run's own time", () => {
  expect(periodSaid({ from: 60, to: 90.5 })).toBe("1:00 to 1:30 of the run");
  expect(periodSaid({ last: 600 })).toBe("last 10:00");
  expect(periodSaid({ last: Infinity })).toBe("whole run");
});
