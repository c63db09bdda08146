/**
 * What it costs to start and stop containers: `docker run --rm` on a bridge and on the plugin's network in turn, and
 * each of the plugin's calls; then both again with many endpoints present.
 *
 *     npm run bench:control -- [--runs 20] [--cycles 200] [--endpoints 1000] [--engine 28] [--json FILE]
 */
import { parseArgs } from 'node:util';
import { Cluster } from '../integration/support/cluster.ts';
import type { Member } from '../integration/support/member.ts';
import { ENGINES } from '../rig/packages.ts';
import { type CallTimes, PluginCalls } from './plugin-calls.ts';
import { count, machine, say, table, writeJson } from './report.ts';
import { median, percentile, rounded } from './statistics.ts';

interface RunFigures {
  readonly bridge_ms: number;
  readonly vpc_ms: number;
  readonly ratio: number;
  readonly runs: { readonly bridge: readonly number[]; readonly vpc: readonly number[] };
}

/** Milliseconds. */
interface CallFigures {
  readonly p50: number;
  readonly p99: number;
}

interface Figures {
  readonly docker_run: RunFigures;
  readonly calls: Readonly<Record<string, CallFigures>>;
}

const WARM_UP = 10;
/** What a container's start waits for, as one figure. */
const START = ['CreateEndpoint', 'Join', 'ProgramExternalConnectivity'] as const;
const START_NAME = 'CreateEndpoint+Join+Program';
/** Docker's own network for comparison has a name of its own: on the default bridge it leaves out embedded DNS. */
const NETWORKS = { bridge: 'bench-bridge', vpc: 'bench-vpc' } as const;

async function dockerRun(member: Member, runs: number): Promise<RunFigures> {
  const times = { bridge: [] as number[], vpc: [] as number[] };
  for (let i = -2; i < runs; i += 1) {
    for (const kind of ['bridge', 'vpc'] as const) {
      const argv = ['run', '--rm', '--network', NETWORKS[kind], 'drayage/box:1', 'true'];
      const outcome = await member.docker(...argv);
      if (outcome.code !== 0) throw new Error(`docker ${argv.join(' ')}: ${outcome.stderr.trim()}`);
      if (i >= 0) times[kind].push(rounded(outcome.ms));
    }
  }
  const [bridge, vpc] = [median(times.bridge), median(times.vpc)];
  return { bridge_ms: rounded(bridge), vpc_ms: rounded(vpc), ratio: rounded(vpc / bridge, 3), runs: times };
}

async function timeCalls(calls: PluginCalls, cycles: number): Promise<Record<string, CallFigures>> {
  const times: CallTimes = new Map();
  for (let i = -WARM_UP; i < cycles; i += 1) {
    const kept = i < 0 ? undefined : times;
    await calls.stop(await calls.start(true, kept), kept);
  }
  const sums = Array.from({ length: cycles }, (_, i) =>
    START.reduce((sum, name) => sum + (times.get(name)?.[i] ?? Number.NaN), 0),
  );
  const entries = [...times, [START_NAME, sums] as const];
  return Object.fromEntries(
    entries.map(([name, values]) => [
      name,
      { p50: rounded(percentile(values, 0.5)), p99: rounded(percentile(values, 0.99)) },
    ]),
  );
}

async function measure(member: Member, calls: PluginCalls, extent: { runs: number; cycles: number }): Promise<Figures> {
  return { docker_run: await dockerRun(member, extent.runs), calls: await timeCalls(calls, extent.cycles) };
}

function print(few: Figures, many: Figures, endpoints: number): void {
  const ratio = (a: number, b: number): string => (b / a).toFixed(2);
  const rows = Object.keys(few.calls).map((name) => {
    const [a, b] = [few.calls[name], many.calls[name]];
    if (a === undefined || b === undefined) throw new Error(`${name} was not measured twice`);
    return [name, a.p50.toFixed(2), a.p99.toFixed(2), b.p50.toFixed(2), b.p99.toFixed(2), ratio(a.p50, b.p50)];
  });
  console.log(table([['call, ms', 'p50', 'p99', `p50 at ${endpoints}`, `p99 at ${endpoints}`, 'ratio'], ...rows]));
  const line = ({ bridge_ms, vpc_ms, ratio: r }: RunFigures): string =>
    `bridge ${bridge_ms} ms, vpc ${vpc_ms} ms, ratio ${r}`;
  console.log(`docker run --rm: ${line(few.docker_run)}`);
  console.log(`the same with ${endpoints} endpoints present: ${line(many.docker_run)}`);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      runs: { type: 'string', default: '20' },
      cycles: { type: 'string', default: '200' },
      endpoints: { type: 'string', default: '1000' },
      engine: { type: 'string', default: '28' },
      json: { type: 'string' },
    },
  });
  const engine = ENGINES.find((version) => version === values.engine);
  if (engine === undefined) throw new Error(`--engine ${values.engine} is none of ${ENGINES.join(', ')}.`);
  const extent = { runs: count(values.runs, 'runs'), cycles: count(values.cycles, 'cycles') };
  const endpoints = count(values.endpoints, 'endpoints');
  const before = machine();
  const ends: (() => Promise<void>)[] = [];
  try {
    say('starts a host');
    const teardown = { teardown: (end: () => Promise<void>) => ends.push(end) };
    const cluster = await Cluster.for(teardown, { hosts: 1, engine, provider: 'host' });
    const member = cluster.member(1);
    await member.must('network', 'create', '-d', 'bridge', NETWORKS.bridge);
    await member.createNetwork(NETWORKS.vpc, '--ipam-driver', 'vpc');
    const calls = new PluginCalls(member.plugin.socket());
    ends.unshift(async () => calls.close());
    await calls.createNetwork();
    say('measures');
    const few = await measure(member, calls, extent);
    say(`makes ${endpoints} endpoints`);
    for (let i = 0; i < endpoints; i += 1) await calls.start(false);
    say('measures again');
    const many = await measure(member, calls, extent);
    print(few, many, endpoints);
    const crowded = { ...many, ratio: startRatio(few, many) };
    writeJson(values.json, { ...few, [`with_${endpoints}_endpoints`]: crowded, engine, ...extent, machine: before });
  } finally {
    for (const end of ends) await end();
  }
}

function startRatio(few: Figures, many: Figures): number {
  const [a, b] = [few.calls[START_NAME]?.p50, many.calls[START_NAME]?.p50];
  return rounded((b ?? Number.NaN) / (a ?? Number.NaN), 3);
}

await main().catch((error: unknown) => {
  console.error(`bench: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
});
