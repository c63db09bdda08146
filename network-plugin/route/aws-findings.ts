import { overlaps, parseCidr } from '../../shared/cidr.ts';
import type { Action, Calls } from '../../shared/cloud/aws/model.ts';
import { PERMISSIONS } from '../../shared/cloud/aws/policy.ts';
import type { Ec2 } from '../../shared/cloud/aws/routes.ts';
import type { Metadata } from '../../shared/cloud/metadata.ts';
import type { Context } from '../../shared/context.ts';
import { asPluginError, PluginError } from '../../shared/errors.ts';
import type { AwsIdentity } from './aws-identity.ts';
import type { AwsQuota } from './aws-quota.ts';
import { type AwsTables, usedOf } from './aws-tables.ts';
import type { Finding } from './provider.ts';

/** What can be looked at once the metadata service has answered. */
export interface AwsLooks {
  readonly identity: AwsIdentity;
  readonly ec2: Ec2;
  readonly tables: AwsTables;
  readonly quota: AwsQuota;
  readonly vpcBlocks: readonly string[];
}

interface Surroundings {
  readonly metadata: Metadata;
  /** Where keys come from. */
  readonly source: string;
  readonly pools: readonly string[];
}

const FULL = 0.8;
const SKEW_MS = { warning: 60_000, bad: 240_000 };
/** Of an address range for documentation: nobody has a route to it. */
const NOWHERE = '192.0.2.0/24';
const POLICY = 'Attach the policy that `drayage policy aws` prints to the role of this host.';

/** Everything that `drayage doctor` should know of AWS, looked at now. Never rejects. */
export const lookAround = async (
  around: Surroundings,
  place: AwsLooks | undefined,
  c: Context,
): Promise<readonly Finding[]> => {
  const looks: [string, () => Promise<readonly Finding[]>][] = [['metadata', () => ofMetadata(around.metadata, c)]];
  if (place !== undefined) {
    // The quota's own service has no trial runs: reading it is the trial, and what several looks go by.
    await place.quota.refresh(c, true);
    looks.push(
      ['permissions', () => ofPermissions(place, around.source, c)],
      ['source/dest check', () => ofSourceCheck(place, c)],
      ['route tables', () => ofTables(place, c)],
    );
  }
  const found = await Promise.all(
    looks.map(async ([check, look]) => {
      try {
        return await look();
      } catch (thrown) {
        const error = asPluginError(thrown);
        return [{ check, state: 'unknown', found: error.message, remedy: error.fix } as const];
      }
    }),
  );
  return place === undefined ? found.flat() : [...found.flat(), ...ofPools(place, around.pools), ...ofClock(place)];
};

const ofMetadata = async (metadata: Metadata, c: Context): Promise<readonly Finding[]> => {
  const check = 'metadata';
  try {
    const instance = await metadata.get('meta-data/instance-id', c);
    return [{ check, state: 'good', found: `The metadata service knows this host as ${instance}.` }];
  } catch (error) {
    const remedy =
      "Turn the instance's metadata service on: aws ec2 modify-instance-metadata-options --http-endpoint enabled --http-tokens required --http-put-response-hop-limit 1 --instance-id ….";
    return [{ check, state: 'bad', found: asPluginError(error).message, remedy }];
  }
};

/** Asks for each call whether it would be allowed; nothing is changed. */
const ofPermissions = async (
  { ec2, identity, tables, quota }: AwsLooks,
  source: string,
  c: Context,
): Promise<readonly Finding[]> => {
  const { vpc, instance, networkInterface } = identity;
  const table = tables.ids[0] ?? 'rtb-00000000000000000';
  const route = { table, prefix: NOWHERE, target: networkInterface };
  const inputs: { readonly [A in Exclude<Action, 'GetServiceQuota'>]: Calls[A]['input'] } = {
    DescribeRouteTables: { vpc },
    DescribeInstances: { ids: [instance] },
    DescribeNetworkInterfaces: { ids: [networkInterface] },
    CreateRoute: route,
    ReplaceRoute: route,
    DeleteRoute: route,
    ModifyNetworkInterfaceAttribute: { networkInterface },
  };
  const check = 'permissions';
  const actions = Object.keys(inputs) as (keyof typeof inputs)[];
  const answers = await Promise.all(
    actions.map(async (action) => {
      const { action: permission, why } = PERMISSIONS[action];
      const refusal = await ec2.dryRun(action, inputs[action], c).catch((error: unknown) => asPluginError(error));
      return { permission, why, refusal };
    }),
  );
  const missing = answers.flatMap(({ permission, why, refusal }): Finding[] => {
    if (refusal === undefined) return [];
    if (refusal.code !== 'PROVIDER_PERMISSION') {
      return [{ check, state: 'unknown', found: `${permission}: ${refusal.message}`, remedy: refusal.fix }];
    }
    return [{ check, state: 'bad', found: `${permission} is missing. ${why}`, remedy: POLICY }];
  });
  if (!quota.isLive) {
    const found = `The quota of routes cannot be read: ${quota.why} It is taken to be ${quota.limit}.`;
    missing.push({ check, state: 'warning', found, remedy: POLICY });
  }
  if (missing.length > 0) return missing;
  return [{ check, state: 'good', found: `All ${answers.length + 1} calls are allowed, with keys from ${source}.` }];
};

const ofSourceCheck = async ({ ec2, identity }: AwsLooks, c: Context): Promise<readonly Finding[]> => {
  const { networkInterface: id } = identity;
  const check = 'source/dest check';
  const [found] = await ec2.call('DescribeNetworkInterfaces', { ids: [id] }, c);
  if (found === undefined) throw new PluginError('PROVIDER_REFUSED', { provider: 'aws', what: `a look at ${id}` });
  if (!found.sourceDestCheck) return [{ check, state: 'good', found: `It is off on ${id}.` }];
  const remedy = `drayage reconcile turns it off at once, the plugin by itself within five minutes; by hand: aws ec2 modify-network-interface-attribute --network-interface-id ${id} --no-source-dest-check.`;
  return [{ check, state: 'bad', found: `It is on on ${id}: AWS drops what containers send and get.`, remedy }];
};

const ofTables = async ({ tables, quota, identity }: AwsLooks, c: Context): Promise<readonly Finding[]> => {
  const reading = await tables.fresh(c);
  const ids = reading.tables.map((table) => `${table.id}${table.main ? ' (main)' : ''}`).join(', ');
  const headroom = reading.tables.map((table): Finding => {
    const used = usedOf(table);
    const found = `${table.id} has ${used} of ${quota.limit} routes${quota.isLive ? '' : ', if the quota is the usual one'}.`;
    if (used < FULL * quota.limit) return { check: 'route quota', state: 'good', found };
    const remedy =
      'Remove routes that nothing needs, use larger prefixes (POOL, PREFIX), or have the quota raised: Service Quotas, VPC, Routes per route table.';
    return { check: 'route quota', state: used < quota.limit ? 'warning' : 'bad', found, remedy };
  });
  return [{ check: 'route tables', state: 'good', found: `Routes of ${identity.vpc} go into ${ids}.` }, ...headroom];
};

const ofPools = ({ vpcBlocks, identity }: AwsLooks, pools: readonly string[]): readonly Finding[] => {
  const check = 'pool';
  const clashes = pools.flatMap((pool) =>
    vpcBlocks
      .filter((block) => overlaps(parseCidr(pool), parseCidr(block)))
      .map((block): Finding => {
        const found = `Pool ${pool} overlaps ${block} of ${identity.vpc}; prefixes are only drawn beside it.`;
        return { check, state: 'warning', found, remedy: 'Set POOL (or POOL6) to a range that no VPC uses.' };
      }),
  );
  const found = `${pools.join(' and ')} overlap nothing of ${identity.vpc} (${vpcBlocks.join(', ')}).`;
  return clashes.length > 0 ? clashes : [{ check, state: 'good', found }];
};

const ofClock = ({ ec2 }: AwsLooks): readonly Finding[] => {
  const { ms, text } = ec2.clock;
  const check = 'clock';
  if (ms === undefined || text === undefined) return [{ check, state: 'unknown', found: 'AWS has not answered yet.' }];
  const found = text === 'exact' ? "It is as AWS's." : `It is ${text} of AWS.`;
  if (Math.abs(ms) < SKEW_MS.warning) return [{ check, state: 'good', found }];
  const remedy = 'Set it right, for instance with chrony and the time service of Amazon at 169.254.169.123.';
  return [{ check, state: Math.abs(ms) < SKEW_MS.bad ? 'warning' : 'bad', found, remedy }];
};
