/**
 * How long `docker network create` and `docker network rm` take in a cloud, and how much of that is the cloud's own time.
 *
 *     npm run bench:create -- [--cloud aws|aliyun] [--rounds 15] [--api 100] [--engine 28] [--json FILE]
 *
 * The clouds are simulators whose API calls take `--api` milliseconds each; Aliyun's takes a second to settle a route.
 */
import { parseArgs } from 'node:util';
import { Cluster } from '../integration/support/cluster.ts';
import type { Member } from '../integration/support/member.ts';
import type { RigCloud } from '../rig/cloud.ts';
import type { CloudName } from '../rig/cloud-router.ts';
import { ENGINES, type EngineVersion } from '../rig/packages.ts';
import type { Call } from '../sim/core/call-log.ts';
import { count, machine, say, table, writeJson } from './report.ts';
import { median, percentile, rounded, spanned } from './statistics.ts';

const CLOUDS = ['aws', 'aliyun'] as const satisfies readonly CloudName[];
const FOR_EVER_MS = 3_600_000;
/** How long a route is Creating or Deleting after the call that asked for it was answered. */
const SETTLE_MS: Readonly<Record<CloudName, number>> = { aws: 0, aliyun: 1_000 };

const SIM = { aws: {}, aliyun: { timing: { settleMs: SETTLE_MS.aliyun } } } as const satisfies Record<
  CloudName,
  object
>;

/** One command. */
interface Sample {
  /** Of the command as a whole. */
  readonly ms: number;
  /** Of it, while a call was in work at the cloud or a route was settling there. */
  readonly cloud_ms: number;
  /** Calls of the cloud's API. */
  readonly calls: number;
}

interface Figures {
  readonly p50_ms: number;
  readonly p90_ms: number;
  readonly cloud_p50_ms: number;
  readonly calls: number;
}

const isWrite = ({ action }: Call): boolean => !/^(Describe|List|Get)/.test(action);

/** When the cloud had something to do for these calls, in milliseconds of its clock. */
const busy = (calls: readonly Call[], settleMs: number): [number, number][] =>
  calls.map((call) => [call.at, call.at + call.took + (isWrite(call) && call.code === 'OK' ? settleMs : 0)]);

async function timed(member: Member, cloud: RigCloud, ...args: string[]): Promise<Sample> {
  const { number: after = 0 } = (await cloud.calls()).at(-1) ?? {};
  const outcome = await member.docker(...args);
  if (outcome.code !== 0) throw new Error(`docker ${args.join(' ')}: ${outcome.stderr.trim()}`);
  const calls = (await cloud.calls({ after })).filter(({ service }) => service !== 'metadata');
  const inCloud = spanned(busy(calls, SETTLE_MS[cloud.name]));
  // A removed route settles after the command, which does not wait for it.
  return { ms: outcome.ms, cloud_ms: Math.min(outcome.ms, inCloud), calls: calls.length };
}

const figures = (samples: readonly Sample[]): Figures => ({
  p50_ms: rounded(median(samples.map(({ ms }) => ms))),
  p90_ms: rounded(
    percentile(
      samples.map(({ ms }) => ms),
      0.9,
    ),
  ),
  cloud_p50_ms: rounded(median(samples.map(({ cloud_ms: ms }) => ms))),
  calls: median(samples.map(({ calls }) => calls)),
});

interface Extent {
  readonly engine: EngineVersion;
  readonly rounds: number;
  readonly api: number;
}

async function measure(provider: CloudName, { engine, rounds, api }: Extent) {
  const ends: (() => Promise<void>)[] = [];
  try {
    say(`starts a host on ${provider}`);
    const teardown = { teardown: (end: () => Promise<void>) => ends.push(end) };
    const cluster = await Cluster.for(teardown, { hosts: 1, engine, provider, cloud: { sim: SIM[provider] } });
    const { cloud } = cluster;
    if (cloud === undefined) throw new Error('this cluster has no cloud');
    await cloud.control.fault({ fault: { kind: 'delay', ms: api }, forMs: FOR_EVER_MS });
    const host = cluster.member(1);
    // All are made before the first is removed: AWS shows a removed route for a while, and who wants it back waits for that.
    const names = Array.from({ length: rounds + 1 }, (_, round) => `net${round}`);
    const run = async (verb: 'create' | 'rm', ...args: string[]): Promise<Sample[]> => {
      const samples: Sample[] = [];
      for (const name of names) samples.push(await timed(host, cloud, 'network', verb, ...args, name));
      // The first one warms up.
      samples.shift();
      say(`${provider}: ${verb} ${samples.map(({ ms }) => Math.round(ms)).join(', ')} ms`);
      return samples;
    };
    const create = await run('create', '-d', 'vpc', '--ipam-driver', 'vpc');
    const rm = await run('rm');
    return { create: figures(create), rm: figures(rm), runs: { create, rm } };
  } finally {
    for (const end of ends) await end();
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      cloud: { type: 'string' },
      rounds: { type: 'string', default: '15' },
      api: { type: 'string', default: '100' },
      engine: { type: 'string', default: '28' },
      json: { type: 'string' },
    },
  });
  const engine = ENGINES.find((version) => version === values.engine);
  if (engine === undefined) throw new Error(`--engine ${values.engine} is none of ${ENGINES.join(', ')}.`);
  const clouds = CLOUDS.filter((name) => values.cloud === undefined || name === values.cloud);
  if (clouds.length === 0) throw new Error(`--cloud ${values.cloud} is none of ${CLOUDS.join(', ')}.`);
  const extent = { engine, rounds: count(values.rounds, 'rounds'), api: count(values.api, 'api') };
  const before = machine();
  const rows = [['median of ms', 'p50', 'p90', 'of it the cloud’s', 'calls']];
  const found: Partial<Record<CloudName, Awaited<ReturnType<typeof measure>>>> = {};
  for (const cloud of clouds) {
    const result = await measure(cloud, extent);
    found[cloud] = result;
    for (const verb of ['create', 'rm'] as const) {
      const { p50_ms: p50, p90_ms: p90, cloud_p50_ms: own, calls } = result[verb];
      rows.push([`${cloud}: docker network ${verb}`, p50.toFixed(0), p90.toFixed(0), own.toFixed(0), String(calls)]);
    }
  }
  console.log(table(rows));
  writeJson(values.json, { clouds: found, ...extent, settle_ms: SETTLE_MS, machine: before });
}

await main().catch((error: unknown) => {
  console.error(`bench: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
});
