import type { Test } from 'tap';
import { CLOUD_SETTINGS, type CloudSettings } from '../../../../shared/cloud/settings.ts';
import { parseOptions } from '../../../../shared/options.ts';
import { EfsProvider } from '../../../../volume-plugin/nfs/efs.ts';
import { type AwsSim, type AwsSimConfig, startAwsSim } from '../../../sim/aws/sim.ts';

/** A simulated account with running instances, and the providers of shares on them. */
export interface EfsWorld {
  readonly aws: AwsSim;
  readonly vpc: string;
  readonly subnets: { readonly a: string; readonly b: string };
  /** Instance ids. */
  readonly hosts: readonly string[];
  /** A provider on host `n`, not started. */
  host(n: number, more?: EfsHost): EfsProvider;
}

export interface EfsHost {
  readonly cluster?: string;
  readonly shares?: readonly string[];
  readonly settings?: Partial<CloudSettings>;
  readonly freshMs?: number;
}

export interface EfsWorldConfig extends AwsSimConfig {
  /** What the hosts' role may do; everything by default. */
  readonly policy?: object;
  /** How many, by zone: two in `a` and one in `b` by default. */
  readonly zones?: readonly ('a' | 'b')[];
}

/** Nothing here is about how fast calls may come. */
const FAST = { burst: 1_000_000, perSecond: 1_000_000 };

export const efsWorld = async (t: Pick<Test, 'teardown'>, config: EfsWorldConfig = {}): Promise<EfsWorld> => {
  const { policy, zones = ['a', 'a', 'b'], ...rest } = config;
  const aws = await startAwsSim({ rates: {}, ...rest });
  t.teardown(() => aws.close());
  const { id: vpc } = aws.vpc();
  const subnets = {
    a: aws.subnet({ vpc, cidr: '10.0.1.0/24' }).id,
    b: aws.subnet({ vpc, cidr: '10.0.2.0/28', zone: `${aws.region}b` }).id,
  };
  const group = aws.world.addGroup(vpc).id;
  const role = { role: { ...(policy && { policy }) } };
  const hosts = zones.map(
    (zone, n) => aws.instance({ name: `host-${n}`, subnet: subnets[zone], groups: [group], ...role }).id,
  );
  const metadata = await Promise.all(hosts.map((id) => aws.metadataOf(id)));
  const host: EfsWorld['host'] = (n, more) => providerOn(aws, metadata[n] ?? '', more);
  return { aws, vpc, subnets, hosts, host };
};

/** A provider on the instance of a metadata service, not started. */
export const providerOn = (aws: AwsSim, metadataEndpoint: string, more: EfsHost = {}): EfsProvider => {
  const { cluster = 'test', shares = [], settings: own = {}, freshMs } = more;
  const settings = {
    ...parseOptions(CLOUD_SETTINGS, {}, 'setting'),
    ...{ cloudEndpoint: aws.endpoint, metadataEndpoint },
    ...own,
  };
  return new EfsProvider({
    ...{ settings, cluster, shares, rateOf: () => FAST, missingMs: 150 },
    ...(freshMs !== undefined && { freshMs }),
  });
};

/** What has been made in truth, whatever state it is in. */
export const countIn = (aws: AwsSim): { readonly shares: number; readonly targets: number } => ({
  shares: aws.files.fileSystems.entries().length,
  targets: aws.files.mountTargets.entries().length,
});

/** A file system that somebody has made, and that bears no tag of a cluster's. */
export const foreign = (aws: AwsSim, zone?: string): string =>
  aws.files.create({
    ...{ token: `console-${countIn(aws).shares}`, performance: 'generalPurpose', throughput: 'bursting' },
    ...{ provisioned: undefined, encrypted: false, key: undefined, zone, tags: { Name: 'home' } },
  }).id;
