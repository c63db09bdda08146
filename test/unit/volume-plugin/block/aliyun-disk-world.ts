import { setTimeout as pause } from 'node:timers/promises';
import { newContext } from '../../../../shared/context.ts';
import { silentLogger } from '../../../../shared/log.ts';
import { AliyunDiskProvider } from '../../../../volume-plugin/block/aliyun-disk.ts';
import type { Disk, DiskHost, DiskProvider, DiskRequest } from '../../../../volume-plugin/block/provider.ts';
import type { Settings } from '../../../../volume-plugin/options.ts';
import { type AliyunConfig, type AliyunSim, startAliyunSim } from '../../../sim/aliyun/sim.ts';
import type { Instance } from '../../../sim/aliyun/world.ts';
import { makeHosts } from '../../shared/cloud/aliyun/hosts.ts';

export { ROLE, thrown } from '../../shared/cloud/aliyun/hosts.ts';

/** A simulated account with hosts in it that share disks. */

type Teardown = { teardown(work: () => unknown): void };

export const GIB = 2 ** 30;

export interface HostOptions {
  readonly settings?: Partial<Settings>;
  readonly cluster?: string;
  readonly appearMs?: number;
  readonly goneMs?: number;
  readonly folders?: ConstructorParameters<typeof AliyunDiskProvider>[0]['folders'];
}

export interface DiskSite {
  readonly sim: AliyunSim;
  instance(n: number): Instance;
  /** A provider of host `n`, not started. */
  host(n: number, options?: HostOptions): AliyunDiskProvider;
}

/** `zones`: the zone letter of each host. */
export const diskSite = async (t: Teardown, zones = 'aa', config: AliyunConfig = {}): Promise<DiskSite> => {
  const sim = await startAliyunSim({ rates: {}, ...config });
  t.teardown(() => sim.close());
  const vpc = sim.vpc({ cidr: '192.168.0.0/16' });
  const vswitches = [...zones].map(
    (letter, n) => sim.vswitch({ vpc: vpc.id, cidr: `192.168.${n}.0/24`, zone: `${sim.region}-${letter}` }).id,
  );
  const { instance, settings: usual } = await makeHosts(sim, vswitches);
  const host = (n: number, options: HostOptions = {}): AliyunDiskProvider => {
    const { settings = {}, cluster = 'default', appearMs, folders, goneMs = 100 } = options;
    return new AliyunDiskProvider({
      settings: { ...usual(n), ...settings },
      cluster,
      calls: { rateOf: () => ({ burst: 10_000, perSecond: 10_000 }), retry: { firstMs: 10, longestMs: 100 } },
      goneMs,
      ...(appearMs !== undefined && { appearMs }),
      ...(folders !== undefined && { folders }),
    });
  };
  return { sim, instance, host };
};

export const context = (ms = 20_000) => newContext(silentLogger, ms);

export const ask = (provider: DiskProvider, more: Partial<DiskRequest> = {}, token = 'token') =>
  provider.create({ volume: 'data', size: 20 * GIB, tags: { options: '{}' }, ...more }, token, context());

export const settled = async (provider: DiskProvider, id: string, state: Disk['state']): Promise<Disk> => {
  for (const c = context(); ; await pause(10, undefined, { signal: c.signal })) {
    const found = await provider.describe(id, c);
    if (found?.state === state) return found;
  }
};

/** A site with its hosts at work. */
export const site = async (t: Teardown, zones = 'aa', config: AliyunConfig = {}, options: HostOptions = {}) => {
  const made = await diskSite(t, zones, config);
  const hosts: { readonly provider: DiskProvider; readonly self: DiskHost }[] = [];
  for (const [n] of [...zones].entries()) {
    const provider = made.host(n, options);
    t.teardown(() => provider.close());
    hosts.push({ provider, self: await provider.start(context()) });
  }
  const [first, second = first] = hosts;
  if (first === undefined || second === undefined) throw new Error('no hosts');
  return { ...made, a: first.provider, b: second.provider, selfA: first.self, selfB: second.self };
};
