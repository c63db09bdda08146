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
 * The first prefix of a length in the pool that overlaps none of `taken`, or, after `skip` such ones, the next. Costs
 * as much as there are taken ones, however large the pool.
 */
export const findFree = (pool: Cidr, length: number, taken: readonly Cidr[], skip = 0): Cidr | undefined => {
  const inside = taken.filter((one) => overlaps(pool, one)).sort((a, b) => (a.base < b.base ? -1 : 1));
  const poolEnd = pool.base + size(pool);
  const step = size(cidrOf(pool.family, pool.base, length));
  let left = BigInt(skip);
  let candidate = pool.base;
  for (const one of inside) {
    // The free places before what is in the way.
    const room = one.base > candidate ? (one.base - candidate) / step : 0n;
    if (room > left) break;
    left -= room;
    const end = one.base + size(one);
    // The first place at or behind its end.
    if (end > candidate) candidate = ((end + step - 1n) / step) * step;
  }
  candidate += left * step;
  return candidate + step > poolEnd ? undefined : cidrOf(pool.family, candidate, length);
};
