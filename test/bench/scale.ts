/**
 * Hosts that join at once: each with a route engine and a provider of its own, all in this process, claim a free prefix
 * each on a simulated cloud that throttles as the real one does. How long until all are routed, how many calls that
 * takes, and how many of them meet a throttle; then one round of reconciliation, which should write nothing.
 *
 *     npm run sim:scale -- [--cloud aws] [--hosts 50] [--latency 80] [--lag 500] [--spread S] [--json FILE]
 *
 * They come within `spread` seconds (a second for 50): each brings a processor of its own, but not here.
 */
import { parseArgs } from 'node:util';
import { PLUGIN_NAME, SETTINGS } from '../../network-plugin/options.ts';
import { RouteEngine } from '../../network-plugin/route/engine.ts';
import type { RouteKernel } from '../../network-plugin/route/kernel.ts';
import { openProvider, peersIn } from '../../network-plugin/route/registry.ts';
import type { NetworkState } from '../../network-plugin/state.ts';
import { type Context, newContext } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { silentLogger } from '../../shared/log.ts';
import { fromEnv } from '../../shared/options.ts';
import { MemoryStore } from '../../shared/state/store.ts';
import { CLOUDS, type SimulatedCloud, type Site, type SiteHost, startCloud } from '../sim/clouds.ts';
import type { Call } from '../sim/core/call-log.ts';
import { count, machine, say, table, writeJson } from './report.ts';
import { median, percentile, rounded } from './statistics.ts';

const POOL = '10.64.0.0/12';
/** As long as the plugin gives one call of Docker's. */
const CALL_MS = 25_000;
/** Pause before a user would repeat a command that was not done in time. */
const REPEAT_MS = 1_000;
/** What the quota of routes in a table is called in the simulator, and how much it usually is. */
const QUOTAS = { aws: 'routes-per-table', aliyun: 'vpc_quota_route_entrys_num' } as const;
const USUAL_QUOTA = { aws: 500, aliyun: 200 } as const;

/** A host that has no routes of its own and needs none. */
const emptyKernel: RouteKernel = {
  peers: async () => [],
  putPeer: async () => undefined,
  removePeer: async () => undefined,
  held: async () => [],
  hold: async () => true,
  unhold: async () => undefined,
  uses: async () => [],
};

const context = (ms: number): Context => newContext(silentLogger, ms);
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

interface Member {
  readonly host: SiteHost;
  readonly engine: RouteEngine;
  readonly store: MemoryStore<NetworkState>;
}

interface Joined {
  readonly host: string;
  /** Undefined: it did not get one. */
  readonly prefix: string | undefined;
  readonly seconds: number;
  /** Errors of the calls of Docker's that ended before the prefix was there. */
  readonly codes: readonly string[];
  /** What was said beside that work goes on, without its numbers. */
  readonly complaints: readonly string[];
}

const member = async (cloud: SimulatedCloud, host: SiteHost): Promise<Member> => {
  const settings = fromEnv(
    SETTINGS,
    {
      PROVIDER: cloud.name,
      CLOUD_ENDPOINT: cloud.info.endpoint,
      METADATA_ENDPOINT: await host.metadata(),
      NODE_NAME: host.name,
      POOL,
    },
    PLUGIN_NAME,
  );
  const [store, log, kernel] = [new MemoryStore<NetworkState>(), silentLogger, emptyKernel];
  const provider = await openProvider(settings, { kernel, store, uplink: { address: host.address }, log });
  const engine = new RouteEngine({ provider, store, kernel, log, home: [POOL], peersIn: peersIn(settings) });
  return { host, engine, store };
};

/** Would a user repeat the command for this? */
const passes = ({ code, retry }: PluginError): boolean =>
  /^(STILL_WORKING|DEADLINE)$|^PROVIDER_/.test(code) && retry !== 'never';

async function join({ host, engine, store }: Member, afterMs: number, endsAt: number): Promise<Joined> {
  const codes: string[] = [];
  const complaints: string[] = [];
  await pause(afterMs);
  const begun = performance.now();
  await engine.start(context(CALL_MS));
  for (;;) {
    try {
      // As the IPAM driver does: what an earlier call has begun is taken first.
      const begunBefore = [...store.all('claims').values()].find(({ phase }) => phase !== 'releasing');
      const wanted = { pool: POOL, length: 24, ...(begunBefore && { preferred: begunBefore.prefix }) };
      const prefix = await engine.claimFree(wanted, context(CALL_MS));
      return { host: host.name, prefix, seconds: (performance.now() - begun) / 1000, codes, complaints };
    } catch (error) {
      if (!(error instanceof PluginError)) throw error;
      codes.push(error.code);
      if (error.code !== 'STILL_WORKING') complaints.push(error.message.replaceAll(/\d+/g, 'N'));
      if (!passes(error) || performance.now() > endsAt) {
        say(`${host.name} has no prefix: ${error.message}`);
        return { host: host.name, prefix: undefined, seconds: (performance.now() - begun) / 1000, codes, complaints };
      }
      await pause(REPEAT_MS);
    }
  }
}

const tally = (values: readonly string[]): Record<string, number> => {
  const sums = new Map<string, number>();
  for (const value of values) sums.set(value, (sums.get(value) ?? 0) + 1);
  return Object.fromEntries([...sums].sort((a, b) => b[1] - a[1]));
};

const isThrottle = ({ code }: Call): boolean => /RequestLimitExceeded|Throttling|TooManyRequests/.test(code);
const isWrite = ({ action }: Call): boolean => !/^(Describe|List|Get)/.test(action);

/** Calls of the cloud's API; those of the metadata service cost nobody anything and are counted apart. */
const apiCalls = (calls: readonly Call[]): Call[] => calls.filter(({ service }) => service !== 'metadata');

function callFigures(all: readonly Call[], hosts: number) {
  const calls = apiCalls(all);
  const perCaller = Object.values(tally(calls.map(({ caller }) => caller)));
  const throttled = calls.filter(isThrottle);
  return {
    calls: {
      total: calls.length,
      per_host: {
        mean: rounded(calls.length / hosts),
        p50: rounded(median(perCaller)),
        max: Math.max(0, ...perCaller),
      },
      by_action: tally(calls.map(({ action }) => action)),
      refused: tally(calls.filter(({ code }) => code !== 'OK').map(({ code }) => code)),
      metadata_per_host: rounded((all.length - calls.length) / hosts),
    },
    throttled: {
      total: throttled.length,
      per_host: rounded(throttled.length / hosts),
      by_action: tally(throttled.map(({ action }) => action)),
    },
  };
}

/** Throws unless each host's prefix is its own, and the cloud's table says the same. Answers how many routes are more than that. */
function check(cloud: SimulatedCloud, site: Site, joined: readonly Joined[]): number {
  const routes = new Map(cloud.routes().map(({ prefix, target, table }) => [prefix, { target, table }]));
  const given = new Set(joined.flatMap(({ prefix }) => prefix ?? []));
  for (const { host, prefix } of joined) {
    if (prefix === undefined) continue;
    const wanted = site.hosts.find(({ name }) => name === host)?.target;
    const found = routes.get(prefix);
    if (found?.target !== wanted || found?.table !== site.table) {
      throw new Error(`${prefix} of ${host} leads to ${found?.target ?? 'nothing'} and not to ${wanted}`);
    }
  }
  const got = joined.filter(({ prefix }) => prefix !== undefined);
  if (given.size !== got.length) throw new Error('two hosts have one prefix');
  const stray = [...routes].filter(([prefix]) => !given.has(prefix));
  for (const [prefix, { target }] of stray) say(`${prefix} leads to ${target}, which did not ask for it`);
  return stray.length;
}

/** Each host looks once, a little apart, as its reconcile loop does; answers what that cost. */
async function steady(cloud: SimulatedCloud, members: readonly Member[], spreadMs: number) {
  const after = cloud.calls().at(-1)?.number ?? 0;
  const drift = await Promise.all(
    members.map(async ({ engine }, n) => {
      await pause((n / members.length) * spreadMs);
      // As the loop has it: routine. One that found no time leaves it to the next.
      return engine.reconcile(true, context(CALL_MS), true).catch((error: unknown) => [String(error)]);
    }),
  );
  const calls = apiCalls(cloud.calls({ after }));
  return {
    calls_per_host: rounded(calls.length / members.length),
    writes: calls.filter(isWrite).length,
    drift: drift.flat().length,
  };
}

const { values } = parseArgs({
  options: {
    cloud: { type: 'string', default: 'aws' },
    hosts: { type: 'string', default: '50' },
    latency: { type: 'string', default: '80' },
    lag: { type: 'string', default: '500' },
    spread: { type: 'string' },
    deadline: { type: 'string', default: '1200' },
    json: { type: 'string' },
  },
});
const name = CLOUDS.find((each) => each === values.cloud);
if (name === undefined) throw new Error(`--cloud ${values.cloud}: choose one of ${CLOUDS.join(', ')}.`);
const hosts = count(values.hosts, 'hosts');
const [latencyMs, lagMs, spreadS] = [
  Number(values.latency),
  Number(values.lag),
  values.spread === undefined ? hosts / 50 : Number(values.spread),
];
// Claims that came to nothing stay in the table until the next round of repairs.
const quota = Math.max(USUAL_QUOTA[name], Math.ceil(hosts * 1.2));
const cloud = await startCloud(name, { lagMs, quotas: { [QUOTAS[name]]: quota } });
const site = cloud.furnish(hosts);
if (latencyMs > 0) cloud.faults.delay('*', latencyMs);
say(
  `${hosts} hosts join on ${name}: ${latencyMs} ms a call, writes show after ${lagMs} ms, a quota of ${quota} routes${quota > USUAL_QUOTA[name] ? ` (raised: accounts begin with ${USUAL_QUOTA[name]})` : ''}`,
);
const members = await Promise.all(site.hosts.map((host) => member(cloud, host)));
const begun = performance.now();
const endsAt = begun + count(values.deadline, 'deadline') * 1000;
let done = 0;
const progress = setInterval(() => {
  const throttled = cloud.calls().filter(isThrottle).length;
  const inTable = cloud.routes().length;
  const after = Math.round((performance.now() - begun) / 1000);
  say(`${after} s: ${done} hosts routed, ${inTable} routes, ${throttled} throttles`);
}, 10_000);
const joined = await Promise.all(
  members.map(async (each, n) => {
    const result = await join(each, (n / hosts) * spreadS * 1000, endsAt);
    if (result.prefix !== undefined) done += 1;
    return result;
  }),
);
const allRoutedS = (performance.now() - begun) / 1000;
clearInterval(progress);
// Attempts that came to nothing may have left routes. The engine's rounds take back those that no record knows, and the
// plugin's reconcile (which is not here) releases claims that no network uses.
const leftAtOnce = check(cloud, site, joined);
const joining = callFigures(cloud.calls(), hosts);
// What was left to do in the background, and what lags, has its moment first.
await pause(lagMs + 1_000);
const roundMs = Math.max(500, hosts * 60);
const seconds = joined.map((each) => each.seconds);
const [first, second] = [await steady(cloud, members, roundMs), await steady(cloud, members, roundMs)];
const figures = {
  cloud: name,
  hosts,
  latency_ms: latencyMs,
  lag_ms: lagMs,
  spread_s: spreadS,
  quota: { routes: quota, usual: USUAL_QUOTA[name] },
  routed: done,
  all_routed_s: rounded(allRoutedS),
  host_s: {
    p50: rounded(percentile(seconds, 0.5)),
    p90: rounded(percentile(seconds, 0.9)),
    max: rounded(Math.max(...seconds)),
  },
  /** What users were told whose command did not get a prefix: nearly all of them to repeat it. */
  failed_commands: tally(joined.flatMap(({ codes }) => codes)),
  complaints: tally(joined.flatMap(({ complaints }) => complaints)),
  ...joining,
  stray_routes: { at_once: leftAtOnce, after_reconcile: check(cloud, site, joined) },
  // The first round still learns who the other hosts are.
  reconcile: { first, steady: second },
  machine: machine(),
};
for (const { engine } of members) await engine.close(context(5_000));
await cloud.close();
const { calls, throttled, reconcile } = figures;
const rows = [
  ['', name],
  ['hosts routed', `${figures.routed} of ${hosts}`],
  ['all routed', `${figures.all_routed_s} s`],
  ['a host, p50', `${figures.host_s.p50} s`],
  ['a host, p90', `${figures.host_s.p90} s`],
  ['calls of a host, mean', String(calls.per_host.mean)],
  ['calls of a host, most', String(calls.per_host.max)],
  ['throttles met', String(throttled.total)],
  ['stray routes, and after reconcile', Object.values(figures.stray_routes).join(', ')],
  ['first reconcile: calls of a host', String(reconcile.first.calls_per_host)],
  ['next reconcile: calls of a host', String(reconcile.steady.calls_per_host)],
  ['next reconcile: writes', String(reconcile.steady.writes)],
];
process.stdout.write(`${table(rows)}\n`);
const list = (counts: Readonly<Record<string, number>>) =>
  Object.entries(counts)
    .map(([what, times]) => `${what} ${times}`)
    .join(', ') || 'none';
process.stdout.write(
  `commands that failed: ${list(figures.failed_commands)}\ncalls: ${list(calls.by_action)}\nrefused: ${list(calls.refused)}\n`,
);
for (const [what, times] of Object.entries(figures.complaints).slice(0, 5))
  process.stdout.write(`${times} × ${what}\n`);
writeJson(values.json, figures);
if (done < hosts) process.exitCode = 1;
