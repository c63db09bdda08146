/** Hosts in a simulated VPC, each with a provider of its own. */
import { AwsProvider, type AwsProviderOptions } from '../../../../network-plugin/route/aws.ts';
import { silentLogger } from '../../../../shared/log.ts';
import type { CloudControls } from '../../../conformance/cloud-provider.ts';
import { type AwsSim, type AwsSimConfig, type InstanceRequest, startAwsSim } from '../../../sim/aws/sim.ts';

export interface Test {
  teardown(work: () => unknown): unknown;
}

export interface AwsHost {
  /** Instance. */
  readonly id: string;
  /** Its interface. */
  readonly eni: string;
  /** The metadata service as this host sees it. */
  readonly metadata: string;
}

export interface AwsWorld {
  readonly sim: AwsSim;
  readonly vpc: string;
  readonly subnet: string;
  /** The main table, which is the arbiter. */
  readonly main: string;
  readonly hosts: readonly AwsHost[];
  readonly controls: CloudControls;
  add(request?: Partial<InstanceRequest>): Promise<AwsHost>;
  /** Not started; closed with the test. */
  provider(n: number, options?: Partial<AwsProviderOptions>): AwsProvider;
}

/** Long enough for a simulator without lag. */
export const SETTLE_MS = 300;

/** One VPC with one subnet and as many hosts. No limits of rate unless `config` sets some. */
export const awsWorld = async (t: Test, count = 2, config: AwsSimConfig = {}): Promise<AwsWorld> => {
  const sim = await startAwsSim({ rates: {}, ...config });
  t.teardown(() => sim.close());
  const vpc = sim.vpc({ cidr: '10.0.0.0/16', cidr6: 'fd00:1::/56' });
  const subnet = sim.subnet({ vpc: vpc.id, cidr: '10.0.1.0/24', cidr6: 'fd00:1::/64' });
  const hosts: AwsHost[] = [];
  const add = async (request: Partial<InstanceRequest> = {}): Promise<AwsHost> => {
    const instance = sim.instance({ name: `host-${hosts.length}`, subnet: subnet.id, ...request });
    const [primary] = instance.interfaces;
    if (primary === undefined) throw new Error('an instance without an interface');
    const host = { id: instance.id, eni: primary.id, metadata: await sim.metadataOf(instance.id) };
    hosts.push(host);
    return host;
  };
  const controls: CloudControls = {
    addTable: () => {
      const number = 2 + sim.world.subnets.size;
      const more = sim.subnet({ vpc: vpc.id, cidr: `10.0.${number}.0/24` });
      return sim.routeTable({ vpc: vpc.id, subnets: [more.id] }).id;
    },
    gateway: () => sim.gateway('vgw', vpc.id).id,
    stop: (n) => sim.stop(hosts[n]?.id ?? ''),
    terminate: (n) => sim.terminate(hosts[n]?.id ?? ''),
    writes: () =>
      sim
        .calls({ service: 'ec2' })
        .filter(({ action, code }) => !action.startsWith('Describe') && code !== 'DryRunOperation').length,
  };
  for (let n = 0; n < count; n += 1) await add();
  return {
    ...{ sim, vpc: vpc.id, subnet: subnet.id, main: sim.tableOf(subnet.id).id, hosts, add, controls },
    provider: (n, options = {}) => {
      const host = hosts[n];
      if (host === undefined) throw new Error(`there is no host ${n}`);
      const provider = new AwsProvider({
        endpoint: sim.endpoint,
        metadataEndpoint: host.metadata,
        ...{ tables: [], addresses: [], gateways: [], settleMs: SETTLE_MS, log: silentLogger },
        pools: ['10.64.0.0/12'],
        // A simulator that limits nobody needs no consideration.
        ...(config.rates === undefined && { rateOf: () => ({ burst: 1_000, perSecond: 1_000 }) }),
        ...options,
      });
      t.teardown(() => provider.close());
      return provider;
    },
  };
};
