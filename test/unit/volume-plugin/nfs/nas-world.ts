import { setTimeout as pause } from 'node:timers/promises';
import { newContext } from '../../../../shared/context.ts';
import { silentLogger } from '../../../../shared/log.ts';
import type { NasOptions } from '../../../../volume-plugin/nfs/nas.ts';
import { NasProvider } from '../../../../volume-plugin/nfs/nas.ts';
import { type AliyunConfig, type AliyunSim, startAliyunSim } from '../../../sim/aliyun/sim.ts';
import type { Instance, Vpc } from '../../../sim/aliyun/world.ts';
import { makeHosts } from '../../shared/cloud/aliyun/hosts.ts';

export { ROLE, thrown } from '../../shared/cloud/aliyun/hosts.ts';

/** A simulated account with hosts in it that share file systems. */

type Teardown = { teardown(work: () => unknown): void };

export const GIB = 2 ** 30;

export interface HostOptions {
  readonly cluster?: string;
  readonly shares?: readonly string[];
  readonly waits?: NasOptions['waits'];
}

export interface NasSite {
  readonly sim: AliyunSim;
  /** The second one is that of host 2. */
  readonly vpcs: readonly [Vpc, Vpc];
  instance(n: number): Instance;
  /** A provider of host `n`, not started: 0 and 1 are in one VPC, in two zones, and 2 in another. */
  host(n: number, options?: HostOptions): NasProvider;
  /** The same, at work until the test ends. */
  started(n: number, options?: HostOptions): Promise<NasProvider>;
}

/** Short where nobody else makes a file system meanwhile. */
const WAITS = { settleMs: 0, appearMs: 400, staleMs: 10_000, missingMs: 300 };

export const context = (ms = 20_000) => newContext(silentLogger, ms);

/** `more`: so many hosts beyond those three, in the VPC of the first. */
export const nasSite = async (
  t: Teardown,
  config: AliyunConfig = {},
  usual: HostOptions = {},
  more = 0,
): Promise<NasSite> => {
  const sim = await startAliyunSim({ rates: {}, ...config });
  t.teardown(() => sim.close());
  const [one, two] = [sim.vpc({ cidr: '192.168.0.0/16' }), sim.vpc({ cidr: '10.1.0.0/16' })];
  const vswitch = (vpc: Vpc, cidr: string, letter: string) =>
    sim.vswitch({ vpc: vpc.id, cidr, zone: `${sim.region}-${letter}` }).id;
  const [first, second] = [vswitch(one, '192.168.0.0/24', 'a'), vswitch(one, '192.168.1.0/24', 'b')];
  const others = Array.from({ length: more }, () => first);
  const { instance, settings } = await makeHosts(sim, [first, second, vswitch(two, '10.1.0.0/24', 'a'), ...others]);
  const host = (n: number, options: HostOptions = {}): NasProvider => {
    const { cluster = 'default', shares = [], waits } = { ...usual, ...options };
    return new NasProvider({
      settings: settings(n),
      ...{ cluster, shares, waits: { ...WAITS, ...usual.waits, ...waits } },
      calls: { rateOf: () => ({ burst: 10_000, perSecond: 10_000 }), retry: { firstMs: 10, longestMs: 100 } },
    });
  };
  const started = async (n: number, options?: HostOptions): Promise<NasProvider> => {
    const provider = host(n, options);
    t.teardown(() => provider.close());
    await provider.start(context());
    return provider;
  };
  return { sim, vpcs: [one, two], instance, host, started };
};

/** Until something is so, for what others do. */
export const until = async (isSo: () => boolean): Promise<void> => {
  for (const c = context(); !isSo(); await pause(10, undefined, { signal: c.signal }));
};
