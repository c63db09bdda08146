import { type Cidr, contains, parseCidr } from '../shared/cidr.ts';
import { PluginError } from '../shared/errors.ts';
import { parseIpamOptions, type Settings } from './options.ts';

/** What RequestPool asks for, and what it comes to: pure functions. */

/** The one address space of this driver: its pools are told apart by the route provider. */
export const ADDRESS_SPACE = 'vpc';

export interface PoolRequest {
  readonly addressSpace: string;
  readonly pool: string | undefined;
  readonly range: string | undefined;
  readonly options: Record<string, string>;
  readonly v6: boolean;
}

/** What a RequestPool comes to: `exact` is the prefix to claim, or else a free one of `length` in `range` or `pool`. */
export interface PoolPlan {
  readonly pool: Cidr;
  readonly range: Cidr | undefined;
  readonly exact: Cidr | undefined;
  readonly length: number;
}

/** Errors: BAD_REQUEST, OPTION_*, CIDR_INVALID, POOL_INVALID. */
export function planPool(
  request: PoolRequest,
  settings: Pick<Settings, 'pool' | 'prefix' | 'pool6' | 'prefix6'>,
): PoolPlan {
  if (request.addressSpace !== ADDRESS_SPACE) {
    throw new PluginError('BAD_REQUEST', {
      reason: `the address space is "${request.addressSpace}", and this driver's is "${ADDRESS_SPACE}"`,
    });
  }
  const options = parseIpamOptions(request.options);
  const subnet = request.pool === undefined ? undefined : parseCidr(request.pool);
  // Both requests of a dual-stack network bring all options.
  const [named, length] = request.v6
    ? [options.pool6, options.prefix6 ?? settings.prefix6]
    : [options.pool, options.prefix ?? settings.prefix];
  if (subnet !== undefined && named !== undefined && !contains(named, subnet)) {
    const reason = `--subnet names ${subnet.text}, which is not in it`;
    throw new PluginError('POOL_INVALID', { pool: named.text, reason });
  }
  const pool = named ?? subnet ?? (request.v6 ? settings.pool6 : settings.pool);
  if (request.v6 !== (pool.family === 6)) {
    throw new PluginError('POOL_INVALID', {
      pool: pool.text,
      reason: `an IPv${request.v6 ? 6 : 4} pool was asked for`,
    });
  }
  // With both, the pool is the named one and the subnet says where in it this host's prefix is.
  const narrow = request.range ?? (named === undefined ? undefined : subnet?.text);
  const range = narrow === undefined ? undefined : parseCidr(narrow);
  if (range !== undefined && !contains(pool, range)) {
    throw new PluginError('POOL_INVALID', { pool: pool.text, reason: `--ip-range ${range.text} is outside of it` });
  }
  if (pool.length >= length) return { pool, range, exact: pool, length };
  if (range !== undefined && range.length >= length) return { pool, range: undefined, exact: range, length };
  return { pool, range, exact: undefined, length };
}

/**
 * The PoolID says all that is needed to make the record again, so that a lost state folder is mended by Docker's next
 * request. Docker stores it and repeats it as it is: no request replay at start is needed.
 */
export const poolId = (pool: string, prefix: string, range: string | undefined): string =>
  ['vpc', pool, prefix, ...(range === undefined ? [] : [range])].join('|');

/** Errors: BAD_REQUEST when this driver did not give it out, CIDR_INVALID. */
export function parsePoolId(id: string): {
  readonly pool: Cidr;
  readonly prefix: Cidr;
  readonly range: Cidr | undefined;
} {
  const [scheme, pool, prefix, range] = id.split('|');
  if (scheme !== 'vpc' || pool === undefined || prefix === undefined) {
    throw new PluginError('BAD_REQUEST', { reason: `PoolID "${id}" is not one that this driver gave out` });
  }
  return {
    pool: parseCidr(pool),
    prefix: parseCidr(prefix),
    range: range === undefined ? undefined : parseCidr(range),
  };
}
