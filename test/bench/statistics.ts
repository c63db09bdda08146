/** Medians and percentiles of a few runs. */

/** The value below which the share `p` (0 to 1) of the values lies: nearest rank. NaN of none. */
export function percentile(values: readonly number[], p: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const rank = Math.max(1, Math.ceil(p * sorted.length));
  return sorted[rank - 1] ?? Number.NaN;
}

/** The middle value; between two of them their mean. NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const upper = sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
  const lower = sorted[Math.ceil(sorted.length / 2) - 1] ?? Number.NaN;
  return (lower + upper) / 2;
}

/** Cut to `digits` significant ones, so that files and tables do not pretend to more. */
export function rounded(value: number, digits = 4): number {
  return Number(value.toPrecision(digits));
}

/** How long at least one of these spans lasted: what overlaps counts once. */
export function spanned(spans: readonly (readonly [from: number, to: number])[]): number {
  let [sum, until] = [0, Number.NEGATIVE_INFINITY];
  for (const [from, to] of [...spans].sort((a, b) => a[0] - b[0])) {
    sum += Math.max(0, to - Math.max(from, until));
    until = Math.max(until, to);
  }
  return sum;
}
