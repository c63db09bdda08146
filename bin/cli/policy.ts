import { bucketPolicyDocument as aliyunBuckets } from '../../shared/cloud/aliyun/bucket-policy.ts';
import { policyDocument as aliyun } from '../../shared/cloud/aliyun/policy.ts';
import { sharePolicyDocument as aliyunShares } from '../../shared/cloud/aliyun/share-policy.ts';
import { volumePolicyDocument as aliyunVolumes } from '../../shared/cloud/aliyun/volume-policy.ts';
import { bucketPolicyDocument as awsBuckets } from '../../shared/cloud/aws/bucket-policy.ts';
import { policyDocument as aws } from '../../shared/cloud/aws/policy.ts';
import { sharePolicyDocument as awsShares } from '../../shared/cloud/aws/share-policy.ts';
import { volumePolicyDocument as awsVolumes } from '../../shared/cloud/aws/volume-policy.ts';
import { CommandError, exit } from './client.ts';

/** Whose policy, and what it may be narrowed to. */
export interface Scope {
  /** `network` (the default) or `volume`. */
  readonly plugin?: string | undefined;
  readonly region?: string | undefined;
  readonly account?: string | undefined;
  readonly vpc?: string | undefined;
  readonly tables?: string | undefined;
  readonly cluster?: string | undefined;
  /** Names of buckets, each perhaps with a slash and a prefix behind it, with commas between. */
  readonly buckets?: string | undefined;
}

type Kind = Exclude<keyof Scope, 'plugin'>;

const given = <T extends object>(scope: T): { [K in keyof T]?: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(scope).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };

interface Printer {
  readonly takes: readonly Kind[];
  readonly print: (scope: Scope) => object;
}

const PLUGINS = ['network', 'volume'] as const;

const PRINTERS: Readonly<Record<string, Readonly<Record<(typeof PLUGINS)[number], Printer>>>> = {
  aws: {
    network: {
      takes: ['region', 'account', 'vpc'],
      print: ({ region, account, vpc }) => aws(given({ region, account, vpc })),
    },
    volume: {
      takes: ['region', 'account', 'cluster', 'buckets'],
      print: ({ region, account, cluster, buckets }) => {
        const scope = given({ region, account, cluster });
        const { Version, Statement } = awsVolumes(scope);
        const ofBuckets = awsBuckets(given({ region, buckets: buckets?.split(',') }));
        return { Version, Statement: [...Statement, ...awsShares(scope).Statement, ...ofBuckets.Statement] };
      },
    },
  },
  aliyun: {
    network: {
      takes: ['region', 'account', 'tables'],
      print: ({ region, account, tables }) => aliyun(given({ region, account, tables: tables?.split(',') })),
    },
    volume: {
      takes: ['region', 'account', 'cluster', 'buckets'],
      print: ({ region, account, cluster, buckets }) => {
        const { Version, Statement } = aliyunVolumes(given({ region, account, cluster }));
        const ofShares = aliyunShares(given({ region, account }));
        const ofBuckets = aliyunBuckets(given({ account, buckets: buckets?.split(',') }));
        return { Version, Statement: [...Statement, ...ofShares.Statement, ...ofBuckets.Statement] };
      },
    },
  },
};

/**
 * The least-privilege policy document for a cloud, as its console and command take it.
 * @throws CommandError when there is no such cloud or plugin, or the scope has something that its policies cannot be
 * narrowed to.
 */
export function policy(cloud: string, { plugin: name = 'network', ...scope }: Scope = {}): Record<string, unknown> {
  const plugins = Object.hasOwn(PRINTERS, cloud) ? PRINTERS[cloud] : undefined;
  if (plugins === undefined) {
    throw new CommandError(`There is no policy for "${cloud}"; there are aws and aliyun.`, exit.usage);
  }
  const plugin = PLUGINS.find((one) => one === name);
  if (plugin === undefined) {
    throw new CommandError(`There is no plugin "${name}"; there are ${PLUGINS.join(' and ')}.`, exit.usage);
  }
  const { takes, print } = plugins[plugin];
  for (const [option, value] of Object.entries(scope)) {
    if (value === undefined || takes.some((one) => one === option)) continue;
    const whose = plugin === 'network' ? '' : ` --plugin ${plugin}`;
    throw new CommandError(`--${option} does not go with policy ${cloud}${whose}.`, exit.usage);
  }
  return { ...print(scope) };
}
