// Ranges and ticks of the value axes. They are round numbers, so that an axis does not change every second.

const ROUND = [1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10];

/** From 0 to a round number above the data; never empty. */
export function linearRange(max: number | null): [number, number] {
  if (max === null || max <= 0) return [0, 1];
  const padded = max * 1.05;
  const magnitude = 10 ** Math.floor(Math.log10(padded));
  const top = ROUND.find((round) => round * magnitude >= padded) ?? 10;
  return [0, top * magnitude];
}

/** From a 1, 2 or 5 below the data to one above it; a millisecond to a second without data. */
export function logRange(min: number | null, max: number | null): [number, number] {
  if (min === null || max === null || max <= 0) return [1e6, 1e9];
  const low = below(Math.max(min, 1));
  const high = above(Math.max(max, 1));
  return low === high ? [below(low * 0.99), high] : [low, high];
}

/** The 1s, 2s and 5s of a logarithmic range, or only the 1s if there are too many. */
export function logTicks(low: number, high: number, most: number): number[] {
  for (const steps of [[1, 2, 5], [1, 3], [1]]) {
    const ticks: number[] = [];
    for (let exponent = Math.floor(Math.log10(low) + 1e-9); exponent <= Math.log10(high) + 1e-9; exponent += 1) {
      for (const step of steps) {
        const tick = step * 10 ** exponent;
        if (tick >= low * 0.999 && tick <= high * 1.001) ticks.push(tick);
      }
    }
    if (ticks.length <= most || steps.length === 1) return ticks;
  }
  return [];
}

function below(value: number): number {
  const magnitude = 10 ** Math.floor(Math.log10(value) + 1e-9);
  return ([5, 2].find((step) => step * magnitude <= value * 1.000_001) ?? 1) * magnitude;
}

function above(value: number): number {
  const magnitude = 10 ** Math.floor(Math.log10(value) + 1e-9);
  return ([1, 2, 5].find((step) => step * magnitude >= value * 0.999_999) ?? 10) * magnitude;
}
