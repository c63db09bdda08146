/** Damerau-Levenshtein distance (optimal string alignment): insert, delete, replace, swap neighbours. */
export const distance = (a: string, b: string): number => {
  let older: number[] = [];
  let above = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const same = a[i - 1] === b[j - 1];
      let best = Math.min((above[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (above[j - 1] ?? 0) + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        best = Math.min(best, (older[j - 2] ?? 0) + 1);
      row.push(best);
    }
    older = above;
    above = row;
  }
  return above[b.length] ?? 0;
};

/** Letters that two names begin with. */
const common = (name: string, wanted: string): number => {
  let n = 0;
  while (n < wanted.length && name[n]?.toLowerCase() === wanted[n]) n += 1;
  return n;
};

/** The known name that was probably meant, or undefined when none is close. Case does not count. */
export const nearest = (name: string, known: readonly string[]): string | undefined => {
  const wanted = name.slice(0, 64).toLowerCase();
  const ranked = known
    .map((candidate) => ({ candidate, away: distance(wanted, candidate.toLowerCase()) }))
    .sort((a, b) => a.away - b.away || common(b.candidate, wanted) - common(a.candidate, wanted));
  const best = ranked[0];
  // A third of the letters may be wrong; of very short names, one.
  const close = best !== undefined && best.away <= Math.max(1, Math.floor(Math.max(wanted.length, 3) / 3));
  return close && best.away < best.candidate.length ? best.candidate : undefined;
};
