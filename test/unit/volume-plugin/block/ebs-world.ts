import type { Test } from 'tap';
import { CLOUD_SETTINGS, type CloudSettings } from '../../../../shared/cloud/settings.ts';
import type { DeviceFolders } from '../../../../shared/kernel/disk-serial.ts';
import { parseOptions } from '../../../../shared/options.ts';
import { EbsProvider } from '../../../../volume-plugin/block/ebs.ts';
import type { DiskHost, DiskRequest } from '../../../../volume-plugin/block/provider.ts';
import { type AwsSim, type AwsSimConfig, startAwsSim } from '../../../sim/aws/sim.ts';
import type { DiskTimes } from '../../../sim/core/media.ts';
import { context } from './scratch.ts';

/** A simulated account with running instances, and the providers of disks on them. */
export interface EbsWorld {
  readonly aws: AwsSim;
  /** Instance ids. */
  readonly hosts: readonly string[];
  /** A provider on host `n`, not started. */
  host(n: number, more?: Partial<CloudSettings>, devices?: DeviceFolders, cluster?: string): EbsProvider;
}

export interface EbsWorldConfig extends AwsSimConfig {
  readonly times?: Partial<DiskTimes>;
  /** What the hosts' role may do; everything by default. */
  readonly actions?: readonly string[];
  readonly policy?: object;
  /** How many, by zone: two in `a` by default. */
  readonly zones?: readonly ('a' | 'b')[];
  readonly type?: string;
  /** How often the providers call: as fast as they can by default. */
  readonly pace?: 'usual';
}

/** Nothing here is about how fast calls may come, nor about when EC2 lets a volume be changed again. */
const QUOTAS = { 'seconds-between-snapshots': 0, 'hours-between-modifications': 0 };
const FAST = { burst: 1_000_000, perSecond: 1_000_000 };

export const ebsWorld = async (t: Pick<Test, 'teardown'>, config: EbsWorldConfig = {}): Promise<EbsWorld> => {
  const { actions, policy, zones = ['a', 'a'], type = 'm6i.large', quotas, pace, ...rest } = config;
  const aws = await startAwsSim({ rates: {}, ...rest, quotas: { ...QUOTAS, ...quotas } });
  t.teardown(() => aws.close());
  const vpc = aws.vpc();
  const subnets = {
    a: aws.subnet({ vpc: vpc.id, cidr: '10.0.1.0/24' }),
    b: aws.subnet({ vpc: vpc.id, cidr: '10.0.2.0/24', zone: `${aws.region}b` }),
  };
  const role = { role: { ...(actions && { actions }), ...(policy && { policy }) } };
  const hosts = zones.map((zone, n) => aws.instance({ name: `host-${n}`, subnet: subnets[zone].id, type, ...role }).id);
  const metadata = await Promise.all(hosts.map((id) => aws.metadataOf(id)));
  const host: EbsWorld['host'] = (n, more = {}, devices, cluster = 'test') => {
    const settings = {
      ...parseOptions(CLOUD_SETTINGS, {}, 'setting'),
      ...{ cloudEndpoint: aws.endpoint, metadataEndpoint: metadata[n] },
      ...more,
    };
    return new EbsProvider({
      ...{ settings, cluster, unknownMs: 300, othersMs: 1_500 },
      ...(pace === undefined && { rateOf: () => FAST }),
      ...(devices !== undefined && { devices }),
    });
  };
  return { aws, hosts, host };
};

export const GIB = 2 ** 30;

/** What a disk is asked for by. */
export const request = (volume: string, more: Partial<DiskRequest> = {}): DiskRequest => ({
  ...{ volume, size: GIB, tags: { options: '{}' } },
  ...more,
});

/** Two started hosts, or as many as there are zones for. */
export const started = async (t: Parameters<typeof ebsWorld>[0], config: EbsWorldConfig = {}) => {
  const world = await ebsWorld(t, config);
  const providers = world.hosts.map((_, n) => world.host(n));
  const selves: DiskHost[] = [];
  for (const one of providers) {
    t.teardown(() => one.close());
    selves.push(await one.start(context()));
  }
  const [a, b] = providers as [EbsProvider, EbsProvider];
  const [selfA, selfB] = selves as [DiskHost, DiskHost];
  const make = (volume = 'data') => a.create(request(volume), `token-${volume}`, context());
  return { ...world, a, b, selfA, selfB, make };
};
