/** Both simulated clouds behind one face: for the command, and for rigs and benchmarks that run on either. */
import { startAliyunSim } from './aliyun/sim.ts';
import { startAwsSim } from './aws/sim.ts';
import type { Call, CallFilter } from './core/call-log.ts';
import type { CoreConfig } from './core/config.ts';
import type { Credential } from './core/credentials.ts';
import type { Faults } from './core/faults.ts';
import { realTimes } from './core/media.ts';
import type { SimInfo } from './core/process.ts';
import type { EffectiveRoute } from './core/routes.ts';

export const CLOUDS = ['aws', 'aliyun'] as const;
export type CloudName = (typeof CLOUDS)[number];

export interface SiteHost {
  readonly name: string;
  readonly address: string;
  readonly instance: string;
  /** What routes to it point to. */
  readonly target: string;
  /** URL of a metadata service that takes every caller for this host. */
  metadata(): Promise<string>;
}

/** A VPC of one subnet and one table. */
export interface Site {
  readonly vpc: string;
  readonly table: string;
  readonly subnet: string;
  readonly hosts: readonly SiteHost[];
}

export interface SimulatedCloud {
  readonly name: CloudName;
  readonly info: SimInfo;
  readonly faults: Faults;
  key(): Credential;
  /** Makes a VPC with so many running hosts, `host-1` and so on. The subnet has room for about 4,000. */
  furnish(hosts: number): Site;
  calls(filter?: CallFilter): Call[];
  /** What the cloud's routers carry now. */
  routes(): readonly EffectiveRoute[];
  close(): Promise<void>;
}

/** The configuration is the cloud's own: see AwsSimConfig and AliyunConfig. */
export type CloudConfig = CoreConfig & Readonly<Record<string, unknown>>;

/** As in the real clouds, but machines stop at once: rigs of networks wait for what becomes of their routes. */
const TIMES = { ...realTimes, stopMs: 0 };

const aws = async (config: CloudConfig): Promise<SimulatedCloud> => {
  const sim = await startAwsSim({ times: TIMES, ...config });
  return {
    name: 'aws',
    info: sim.info(),
    faults: sim.faults,
    key: () => sim.key(),
    furnish: (hosts) => {
      const vpc = sim.vpc({ name: 'demo', cidr: '172.31.0.0/16' });
      const subnet = sim.subnet({ vpc: vpc.id, cidr: '172.31.0.0/20' });
      const made = Array.from({ length: hosts }, (_, n) => {
        const { id, name, interfaces } = sim.instance({ name: `host-${n + 1}`, subnet: subnet.id });
        const [primary] = interfaces;
        const [address = '', target = ''] = [primary?.addresses[0], primary?.id];
        return { name, address, target, instance: id, metadata: () => sim.metadataOf(id) };
      });
      return { vpc: vpc.id, subnet: subnet.id, table: sim.tableOf(subnet.id).id, hosts: made };
    },
    calls: (filter) => sim.calls(filter),
    routes: () => sim.effectiveRoutes(),
    close: () => sim.close(),
  };
};

const aliyun = async (config: CloudConfig): Promise<SimulatedCloud> => {
  const sim = await startAliyunSim({ times: TIMES, ...config });
  const { endpoint, metadataEndpoint, control, region } = sim;
  const environment = { PROVIDER: 'aliyun', REGION: region, CLOUD_ENDPOINT: endpoint };
  return {
    name: 'aliyun',
    faults: sim.faults,
    info: { cloud: 'aliyun', endpoint, metadataEndpoint, control, region, environment },
    key: () => sim.key(),
    furnish: (hosts) => {
      const vpc = sim.vpc({ name: 'demo', cidr: '172.16.0.0/12' });
      const vswitch = sim.vswitch({ vpc: vpc.id, cidr: '172.16.0.0/20' });
      sim.role({ name: 'drayage' });
      const made = Array.from({ length: hosts }, (_, n) => {
        const { id, name, interfaces } = sim.instance({ name: `host-${n + 1}`, vswitch: vswitch.id, role: 'drayage' });
        return {
          name,
          address: interfaces[0]?.address ?? '',
          target: id,
          instance: id,
          metadata: () => sim.metadataOf(id),
        };
      });
      const [first] = made;
      if (first !== undefined) sim.takeStrangersFor(first.instance);
      return { vpc: vpc.id, subnet: vswitch.id, table: vpc.systemTable, hosts: made };
    },
    calls: (filter) => sim.calls(filter),
    routes: () => sim.core.routes.current.routes,
    close: () => sim.close(),
  };
};

const starters: Readonly<Record<CloudName, (config: CloudConfig) => Promise<SimulatedCloud>>> = { aws, aliyun };

/** Starts a simulated cloud by its name; `close` it. */
export const startCloud = (name: CloudName, config: CloudConfig = {}): Promise<SimulatedCloud> =>
  starters[name](config);
