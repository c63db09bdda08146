import { AliyunProvider } from '../../../../network-plugin/route/aliyun.ts';
import type { AliyunSettings } from '../../../../network-plugin/route/aliyun-home.ts';
import type { Pace } from '../../../../network-plugin/route/aliyun-turns.ts';
import { parseCidr } from '../../../../shared/cidr.ts';
import { type Logger, silentLogger } from '../../../../shared/log.ts';
import { withRetry } from '../../../../shared/retry.ts';
import type { CloudControls } from '../../../conformance/cloud-provider.ts';
import { context } from '../../../conformance/route-provider.ts';
import { type AliyunConfig, type AliyunSim, startAliyunSim } from '../../../sim/aliyun/sim.ts';
import type { Instance, Vpc } from '../../../sim/aliyun/world.ts';
import { makeHosts } from '../../shared/cloud/aliyun/hosts.ts';

export { ROLE, thrown } from '../../shared/cloud/aliyun/hosts.ts';

/** A simulated VPC with hosts in it, made as they are asked for. */

export interface HostOptions {
  readonly settings?: Partial<AliyunSettings>;
  readonly pace?: Partial<Pace>;
  readonly log?: Logger;
}

export interface AliyunWorld {
  readonly sim: AliyunSim;
  readonly vpc: Vpc;
  readonly vswitch: string;
  /** A provider of host `n`, not started; each is a new one of the same instance. */
  host(n: number, options?: HostOptions): AliyunProvider;
  instance(n: number): Instance;
  readonly cloud: CloudControls;
}

type Teardown = { teardown(work: () => unknown): void };

/** Quick, and in the same proportion as what is real. */
export const QUICK: Partial<Pace> = {
  ...{ gatherMs: 2, pollMs: 8, longestPollMs: 40, backoffMs: 15, longestBackoffMs: 150 },
  ...{ settleMs: 40, lostMs: 400, staleMs: 20 },
};

const isWrite = (action: string): boolean => /^(Create|Delete|Modify)/.test(action);

export const newWorld = async (t: Teardown, hosts = 2, config: AliyunConfig = {}): Promise<AliyunWorld> => {
  const timing = { settleMs: 20, conflictMs: 10, ...config.timing };
  const sim = await startAliyunSim({ rates: {}, ...config, timing });
  t.teardown(() => sim.close());
  const vpc = sim.vpc({ cidr: '192.168.0.0/16', cidr6: '2001:db8:1::/56' });
  const vswitch = sim.vswitch({ vpc: vpc.id, cidr: '192.168.0.0/24', cidr6: '2001:db8:1:1::/64' }).id;
  const { instance, settings: usual } = await makeHosts(sim, Array<string>(hosts).fill(vswitch));
  const host = (n: number, { settings, pace, log = silentLogger }: HostOptions = {}): AliyunProvider => {
    const own: AliyunSettings = {
      ...usual(n),
      ...{ routeTables: undefined, pool: parseCidr('10.64.0.0/12'), pool6: parseCidr('fd64:6472:7961::/48') },
      ...settings,
    };
    return new AliyunProvider({
      ...{ settings: own, host: instance(n).hostName, log },
      pace: { ...QUICK, ...pace },
      calls: { rateOf: () => ({ burst: 1000, perSecond: 1000 }), retry: { firstMs: 10, longestMs: 100 } },
    });
  };
  const cloud: CloudControls = {
    addTable: () => {
      const table = sim.routeTable({ vpc: vpc.id }).id;
      const cidr = `192.168.${sim.world.vswitches.size}.0/24`;
      sim.vswitch({ vpc: vpc.id, cidr, table });
      return table;
    },
    gateway: () => sim.gateway({ vpc: vpc.id, kind: 'VpnGateway' }).id,
    stop: (n) => void sim.stop(instance(n).id),
    terminate: (n) => sim.release(instance(n).id),
    writes: () =>
      sim.calls().filter(({ action, parameters }) => isWrite(action) && parameters.DryRun !== 'true').length,
  };
  return { sim, vpc, vswitch, host, instance, cloud };
};

/** A provider of host `n`, at work until the test ends. */
export const started = async (
  t: Teardown,
  world: AliyunWorld,
  n = 0,
  options: HostOptions = {},
): Promise<AliyunProvider> => {
  const provider = world.host(n, options);
  t.teardown(() => provider.close());
  // On a busy machine the metadata service may be late.
  await withRetry(context(), () => provider.start(context()), { attempts: 3 });
  return provider;
};

/** A world, its first host at work, and the arbiter's id. */
export const oneHost = async (t: Teardown, config: AliyunConfig = {}, pace: Partial<Pace> = {}) => {
  const world = await newWorld(t, 2, config);
  return { world, provider: await started(t, world, 0, { pace }), table: world.vpc.systemTable };
};
