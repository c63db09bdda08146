import { type Cidr, first as firstOf, formatAddress, last as lastOf, parseAddress, parseCidr } from '../shared/cidr.ts';
import { PluginError } from '../shared/errors.ts';
import type { AddressRecord, PoolRecord } from './state.ts';

/** A released address rests this long, so that peers' neighbour tables and connections forget its last holder. */
export const REST_MS = 30_000;
export const addressKey = (pool: string, address: string): string => `${pool}|${address}`;

/**
 * Next fit from where the last search ended, within `--ip-range` or, for the gateway, from the start of `whole`, the
 * prefix. Errors: POOL_EXHAUSTED.
 */
export function freeAddress(
  pool: PoolRecord,
  whole: Cidr | undefined,
  held: ReadonlyMap<string, AddressRecord>,
  now: number,
): string {
  const area = whole ?? parseCidr(pool.range ?? pool.prefix);
  const [firstText, lastText] = usable(area, parseCidr(pool.prefix));
  const first = parseAddress(firstText).value;
  const last = parseAddress(lastText).value;
  const begin = whole === undefined ? parseAddress(pool.next).value : first;
  let resting = 0;
  let at = begin < first || begin > last ? first : begin;
  // At most every address that has a record can be in the way.
  for (let tried = 0n; tried <= last - first && tried <= BigInt(held.size); tried += 1n) {
    const address = formatAddress(area.family, at);
    const existing = held.get(addressKey(pool.id, address));
    if (existing === undefined || (existing.phase === 'released' && existing.at <= now)) return address;
    if (existing.phase === 'released') resting += 1;
    at = at === last ? first : at + 1n;
  }
  throw new PluginError('POOL_EXHAUSTED', {
    pool: area.text,
    kind: 'address',
    reason: resting === 0 ? undefined : `${resting} of them may be used again ${REST_MS / 1000} s after their release`,
  });
}

/** First and last address that a container may have: an IPv4 prefix's network and broadcast addresses are not given out. */
export function usable(area: Cidr, prefix: Cidr = area): [first: string, last: string] {
  const skip = prefix.family === 4 && prefix.length <= 30;
  const lowest = firstOf(prefix).value + 1n;
  const highest = lastOf(prefix).value - (skip ? 1n : 0n);
  const first = firstOf(area).value;
  const last = lastOf(area).value;
  return [
    formatAddress(area.family, first < lowest ? lowest : first),
    formatAddress(area.family, last > highest ? highest : last),
  ];
}

/** The address after this one. */
export function following(address: string): string {
  const { family, value } = parseAddress(address);
  return formatAddress(family, value + 1n);
}
