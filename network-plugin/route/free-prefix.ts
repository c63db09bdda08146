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

/** Places for prefixes of one length, one behind the other. */
interface Gap {
  readonly start: bigint;
  readonly places: bigint;
}

/** What `taken` leaves free in the pool. Costs as much as there are taken ones, however large the pool. */
function* gaps(pool: Cidr, length: number, taken: readonly Cidr[]): Generator<Gap, void, undefined> {
  const inside = taken.filter((one) => overlaps(pool, one)).sort((a, b) => (a.base < b.base ? -1 : 1));
  const step = size(cidrOf(pool.family, pool.base, length));
  let start = pool.base;
  for (const one of inside) {
    if (one.base > start) yield { start, places: (one.base - start) / step };
    const end = one.base + size(one);
    // The first place at or behind its end.
    if (end > start) start = ((end + step - 1n) / step) * step;
  }
  const poolEnd = pool.base + size(pool);
  if (poolEnd > start) yield { start, places: (poolEnd - start) / step };
}

/** How many prefixes of a length in the pool overlap none of `taken`. */
export const countFree = (pool: Cidr, length: number, taken: readonly Cidr[]): bigint => {
  let sum = 0n;
  for (const { places } of gaps(pool, length, taken)) sum += places;
  return sum;
};

/** The first prefix of a length in the pool that overlaps none of `taken`, or the one after `skip` such ones. */
export const findFree = (pool: Cidr, length: number, taken: readonly Cidr[], skip = 0n): Cidr | undefined => {
  const step = size(cidrOf(pool.family, pool.base, length));
  let left = skip;
  for (const { start, places } of gaps(pool, length, taken)) {
    if (places > left) return cidrOf(pool.family, start + left * step, length);
    left -= places;
  }
  return undefined;
};
