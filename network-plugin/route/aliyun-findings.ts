import { type Cidr, overlaps, parseCidr } from '../../shared/cidr.ts';
import { WRITES } from '../../shared/cloud/aliyun/client.ts';
import type { Context } from '../../shared/context.ts';
import { asPluginError, PluginError } from '../../shared/errors.ts';
import type { AliyunHome } from './aliyun-home.ts';
import type { Finding, RouteTable } from './provider.ts';

export interface Subject {
  readonly home: AliyunHome;
  readonly pools: readonly Cidr[];
  /** Reads all tables. */
  readonly read: () => Promise<readonly RouteTable[]>;
}

/** From this part of a quota on it is warned of. */
const NEARLY_FULL = 0.8;
/** Aliyun refuses requests that are 15 minutes off. */
const SKEW_WARNING_MS = 60_000;
const SKEW_BAD_MS = 14 * 60_000;

const good = (check: string, found: string): Finding => ({ check, state: 'good', found });

/** What was thrown, as a finding: never as an error. */
const trouble = (check: string, error: unknown): Finding => {
  const { message, fix, code } = asPluginError(error);
  const state = code === 'DEADLINE' || code === 'PROVIDER_THROTTLED' ? 'unknown' : 'bad';
  return { check, state, found: message, remedy: fix };
};

const attempt = async (
  check: string,
  work: () => Promise<Finding | readonly Finding[]>,
): Promise<readonly Finding[]> => {
  try {
    const found = await work();
    return 'check' in found ? [found] : found;
  } catch (error) {
    return [trouble(check, error)];
  }
};

/** Everything that the provider needs, looked at now. */
export const aliyunFindings = async (subject: Subject, c: Context): Promise<readonly Finding[]> => {
  const { home } = subject;
  const findings = [...(await attempt('metadata service', () => metadata(home, c)))];
  findings.push(...(await attempt('credentials', () => credentials(home, c))));
  findings.push(...(await attempt('route tables', () => tables(home, c))));
  // Without these nothing else can be asked.
  if (findings.some(({ state }) => state === 'bad') || home.known === undefined) return [...findings, clock(home)];
  findings.push(...(await attempt('reading routes', () => reading(subject))));
  findings.push(...quotaTrouble(home));
  findings.push(...(await attempt('reading hosts', () => hosts(home, c))));
  for (const action of WRITES) findings.push(...(await attempt(`vpc:${action}`, () => permission(home, action, c))));
  return [...findings, ...overlap(subject), clock(home)];
};

const metadata = async (home: AliyunHome, c: Context): Promise<Finding> => {
  const id = await home.metadata.get('meta-data/instance-id', c);
  return good('metadata service', `It answers at ${home.metadata.endpoint}: this is ${id ?? 'no instance'}.`);
};

const credentials = async (home: AliyunHome, c: Context): Promise<Finding> => {
  const { until } = await home.credentials.get(c);
  const end = until === undefined ? '' : `, good until ${new Date(until).toISOString()}`;
  return good('credentials', `They come from: ${home.credentials.source}${end}.`);
};

const tables = async (home: AliyunHome, c: Context): Promise<Finding> => {
  if (home.known === undefined) await home.find(c);
  else await Promise.all([home.lookAround(c), home.askQuota(home.place.client, c)]);
  const [arbiter, ...others] = home.place.tables;
  const rest = others.length === 0 ? 'it is the only one in use' : `and ${others.join(', ')}`;
  return good('route tables', `${home.place.vpc} in ${home.place.region}: ${arbiter} decides, ${rest}.`);
};

const reading = async ({ home, read }: Subject): Promise<readonly Finding[]> =>
  (await read()).map(({ id, used = 0 }): Finding => {
    const { quota } = home;
    const source = home.quotaIsKnown ? '' : ', the usual quota: Quota Center does not tell the real one';
    const found = `${id} has ${used} of at most ${quota} custom routes${source}.`;
    if (used < quota * NEARLY_FULL) return good('route quota', found);
    const remedy =
      'Remove routes that nothing needs, use larger prefixes (PREFIX), or raise vpc_quota_route_entrys_num at the Quota Center.';
    return { check: 'route quota', state: used >= quota ? 'bad' : 'warning', found, remedy };
  });

/** No more than a warning: the usual quota is taken instead, and Aliyun itself refuses what is too much. */
const quotaTrouble = ({ quotaTrouble: error }: AliyunHome): readonly Finding[] =>
  error === undefined
    ? []
    : [{ check: 'quotas:ListProductQuotas', state: 'warning', found: error.message, remedy: error.fix }];

const hosts = async (home: AliyunHome, c: Context): Promise<Finding> => {
  const { client, instance } = home.place;
  const seen = await client.instances([instance], c);
  if (seen.length > 0)
    return good('reading hosts', `ecs:DescribeInstances shows this host's own instance ${instance}.`);
  const found = `ecs:DescribeInstances does not show this host's own instance ${instance}.`;
  const remedy =
    'Allow it for all instances (Resource *): hosts that are gone cannot be told from hidden ones otherwise.';
  return { check: 'reading hosts', state: 'bad', found, remedy };
};

const permission = async (home: AliyunHome, action: (typeof WRITES)[number], c: Context): Promise<Finding> => {
  const { client, self, tables: all } = home.place;
  const table = all[0] ?? '';
  const check = `vpc:${action}`;
  if (await client.mayWrite(action, table, { id: self.target, type: 'Instance' }, c)) {
    return good(check, 'It is allowed (asked with DryRun).');
  }
  const { role } = home.credentials;
  return trouble(check, new PluginError('PROVIDER_PERMISSION', { provider: 'aliyun', permission: check, role }));
};

const overlap = ({ home, pools }: Subject): readonly Finding[] => {
  const vendor = { id: "Aliyun's own services", cidrs: ['100.64.0.0/10'] };
  const hits = pools.flatMap((pool) =>
    [...home.place.vswitches, vendor].flatMap(({ id, cidrs }) =>
      cidrs.filter((cidr) => overlaps(parseCidr(cidr), pool)).map((cidr) => ({ pool: pool.text, id, cidr })),
    ),
  );
  if (hits.length === 0) return [good('pool', 'No pool overlaps a vSwitch of the VPC or the range of Aliyun itself.')];
  return hits.map(({ pool, id, cidr }) => ({
    check: 'pool',
    state: 'warning',
    found: `Pool ${pool} overlaps ${cidr} of ${id}: no prefix can be claimed there.`,
    remedy: 'Set POOL to a range that the VPC does not use, the same on every host.',
  }));
};

const clock = (home: AliyunHome): Finding => {
  const caller = home.known?.client.caller;
  const remedy = 'Set it right, for instance with chrony: requests that are 15 minutes off are refused.';
  if (caller?.refusesTime === true) {
    return {
      check: 'clock',
      state: 'bad',
      found: 'Aliyun refuses requests because the clock of this host is off.',
      remedy,
    };
  }
  const { ms, text } = caller?.clock ?? {};
  if (ms === undefined || text === undefined) {
    return {
      check: 'clock',
      state: 'unknown',
      found: 'Aliyun has not answered yet, so its time is not known.',
      remedy: 'See what keeps it from answering.',
    };
  }
  const found = `The clock of this host against Aliyun's: ${text}.`;
  if (Math.abs(ms) < SKEW_WARNING_MS) return good('clock', found);
  const state = Math.abs(ms) < SKEW_BAD_MS ? 'warning' : 'bad';
  return { check: 'clock', state, found, remedy };
};
