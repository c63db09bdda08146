import { type Cidr, cidrOf, overlaps, size } from '../../shared/cidr.ts';

/** A free prefix of `length` in the pool. */
export interface FreePrefix {
  readonly pool: string;
  readonly length: number;
  /** Only in this part of the pool. */
  readonly within?: string;
  /** Tried first of all: one that this host has held before. */
  readonly preferred?: string;
}

/**
 * The first prefix of a length in the pool that overlaps none of `taken`. Costs as much as there are taken ones,
 * however large the pool.
 */
export const findFree = (pool: Cidr, length: number, taken: readonly Cidr[]): Cidr | undefined => {
  const inside = taken.filter((one) => overlaps(pool, one)).sort((a, b) => (a.base < b.base ? -1 : 1));
  const poolEnd = pool.base + size(pool);
  let candidate = cidrOf(pool.family, pool.base, length);
  const step = size(candidate);
  for (const one of inside) {
    if (one.base >= candidate.base + step) break;
    const end = one.base + size(one);
    if (end <= candidate.base) continue;
    // The first place at or behind the end of what is in the way.
    const next = ((end + step - 1n) / step) * step;
    if (next + step > poolEnd) return undefined;
    candidate = cidrOf(pool.family, next, length);
  }
  return candidate;
};
