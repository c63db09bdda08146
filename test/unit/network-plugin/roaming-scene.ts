import { parseCidr } from '../../../shared/cidr.ts';
import { type bench, context } from './fakes.ts';

/** A driver with networks whose pool has addresses that roam. */

export const NET = 'a'.repeat(64);
export const OTHER = 'b'.repeat(64);
export const END = 'c'.repeat(64);
export const END2 = 'd'.repeat(64);
export const ADDRESS = '10.64.200.7';
export const ADDRESS6 = 'fd64:6472:7961:f::7';

export const SETTINGS = {
  pool: parseCidr('10.64.0.0/12'),
  prefix: 24,
  pool6: parseCidr('fd64:6472:7961::/48'),
  prefix6: 64,
};

export type Bench = ReturnType<typeof bench>;

/** A pool as `--subnet` names it, with its gateway, and a network on it. */
export const network = async ({ ipam, driver }: Bench, id = NET, options: Record<string, string> = {}, v6 = false) => {
  const wanted = v6 ? 'fd64:6472:7961::/48' : '10.64.0.0/12';
  const pool = await ipam.requestPool(
    { addressSpace: 'vpc', pool: wanted, range: undefined, options: {}, v6 },
    context(),
  );
  const gateway = await ipam.requestAddress({ pool: pool.id, address: undefined, gateway: true }, context());
  const pools = [{ addressSpace: 'vpc', pool: pool.pool, gateway, auxiliary: [] }];
  await driver.createNetwork({ id, options, internal: false, pools }, context());
  return pool.id;
};

export const ask = ({ ipam }: Bench, pool: string, address = ADDRESS, gateway = false): Promise<string> =>
  ipam.requestAddress({ pool, address, gateway }, context());

export const create = ({ driver }: Bench, id = END, address: string | undefined = ADDRESS, on = NET) =>
  driver.endpoints.create({ id, network: on, address, address6: undefined, mac: undefined }, context());

export const join = ({ driver }: Bench, id = END, on = NET) => driver.endpoints.join(on, id, undefined, context());

/** What `docker rm -f` does. */
export const end = async ({ driver, ipam }: Bench, pool: string, id = END): Promise<void> => {
  await driver.endpoints.leave(NET, id, context());
  await driver.endpoints.delete(NET, id, context());
  await ipam.releaseAddress(pool, ADDRESS, context());
};

export const addressesOf = ({ store }: Bench): string[] =>
  [...store.all('addresses').values()].filter(({ roaming }) => roaming === true).map(({ address }) => address);
