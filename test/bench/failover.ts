/**
 * How long an address is away when its container moves: it is stopped on one host, started on another one under the
 * same address, and a third host asks all the while who answers.
 *
 *     npm run bench:failover -- [--provider etcd|aws|aliyun] [--moves 7] [--api 100] [--engine 28] [--json FILE]
 *
 * The clouds are simulators, whose API calls take `--api` milliseconds each.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Cluster } from '../integration/support/cluster.ts';
import { IMAGE, type Member } from '../integration/support/member.ts';
import { signal, until } from '../rig/command.ts';
import { ENGINES } from '../rig/packages.ts';
import { count, machine, say, table, writeJson } from './report.ts';
import { median, rounded } from './statistics.ts';

const PROVIDERS = ['etcd', 'aws', 'aliyun'] as const;
type Provider = (typeof PROVIDERS)[number];

const ADDRESS = '10.64.200.7';
const NETWORK = ['--ipam-driver', 'vpc', '--subnet', '10.64.0.0/12', '-o', 'roaming=10.64.200.0/24', 'web'];
/** Between two questions: no figure is finer than that. */
const PACE_MS = 5;
const ANSWER_MS = 30_000;
const FOR_EVER_MS = 3_600_000;

/** One move, in milliseconds. */
interface Move {
  /** From `docker stop` to the first answer from the new host. */
  readonly stop_to_reply: number;
  /** From the last answer of the old container to the first one of the new: what a client sees. */
  readonly outage: number;
  /** Of `docker stop` and `docker run`, as commands. */
  readonly docker_stop: number;
  readonly docker_run: number;
}

const FIELDS = ['stop_to_reply', 'outage', 'docker_stop', 'docker_run'] as const satisfies readonly (keyof Move)[];

/** Asks for ever whether the address answers; the answers and their times go to a log. */
class Prober {
  readonly #file: string;
  readonly #pid: number;

  private constructor(file: string, pid: number) {
    this.#file = file;
    this.#pid = pid;
  }

  static async start({ host }: Member): Promise<Prober> {
    const argv = ['ping', '-D', '-n', '-i', String(PACE_MS / 1000), '-W', '1', ADDRESS];
    return new Prober(join(host.machine.folder, 'prober.log'), await host.machine.spawn(argv, 'prober.log'));
  }

  /** Times of the answers, in epoch milliseconds, in order. */
  answers(): number[] {
    const lines = readFileSync(this.#file, 'utf8').matchAll(/^\[(\d+\.\d+)\] \d+ bytes from/gm);
    return [...lines].map(([, seconds]) => Number(seconds) * 1000);
  }

  stop(): void {
    signal(this.#pid, 'SIGTERM');
  }
}

const run = (member: Member): Promise<string> =>
  member.must(
    ...['run', '-d', '--init', '--name', 'roamer', '--network', 'web', '--ip', ADDRESS],
    ...['--stop-timeout', '0', IMAGE, 'sleep', 'infinity'],
  );

async function move(from: Member, to: Member, prober: Prober): Promise<Move> {
  const begun = Date.now();
  await from.must('stop', 'roamer');
  const stopped = Date.now();
  await run(to);
  const started = Date.now();
  // The old container is gone since `docker stop` has returned, so that who answers now is the new one.
  const first = await until('an answer from the new host', () => prober.answers().find((at) => at > stopped), {
    timeoutMs: ANSWER_MS,
    everyMs: 20,
  });
  const last = prober.answers().findLast((at) => at <= stopped) ?? Number.NaN;
  await from.must('rm', 'roamer');
  return {
    stop_to_reply: first - begun,
    outage: first - last,
    docker_stop: stopped - begun,
    docker_run: started - stopped,
  };
}

async function measure(cluster: Cluster, moves: number): Promise<Move[]> {
  const [one, two, three] = [cluster.member(1), cluster.member(2), cluster.member(3)];
  const prober = await Prober.start(three);
  const found: Move[] = [];
  try {
    await run(one);
    await until('the first answer', () => prober.answers().length > 0, { timeoutMs: ANSWER_MS });
    // One move to warm up.
    for (let turn = -1; turn < moves; turn += 1) {
      const [from, to] = turn % 2 === 0 ? [two, one] : [one, two];
      // Some answers from where it is, so that the last one of them is recent.
      await sleep(200);
      const figures = await move(from, to, prober);
      if (turn >= 0) found.push(figures);
      say(
        `${from.name} → ${to.name}: ${FIELDS.map((field) => `${field} ${Math.round(figures[field])} ms`).join(', ')}`,
      );
    }
  } finally {
    prober.stop();
  }
  return found;
}

function providerOf(text: string): Provider {
  const provider = PROVIDERS.find((name) => name === text);
  if (provider === undefined) throw new Error(`--provider ${text} is none of ${PROVIDERS.join(', ')}.`);
  return provider;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      provider: { type: 'string', default: 'etcd' },
      moves: { type: 'string', default: '7' },
      api: { type: 'string', default: '100' },
      engine: { type: 'string', default: '28' },
      json: { type: 'string' },
    },
  });
  const engine = ENGINES.find((version) => version === values.engine);
  if (engine === undefined) throw new Error(`--engine ${values.engine} is none of ${ENGINES.join(', ')}.`);
  const provider = providerOf(values.provider);
  const moves = count(values.moves, 'moves');
  const api = count(values.api, 'api');
  const ends: (() => Promise<void>)[] = [];
  const before = machine();
  try {
    say('starts three hosts');
    const teardown = { teardown: (end: () => Promise<void>) => ends.push(end) };
    // With etcd the hosts' own kernels know the way: they are neighbours. In a cloud its router does.
    const fabric = provider === 'etcd' ? 'switch' : 'vpc';
    const cluster = await Cluster.for(teardown, { hosts: 3, engine, provider, fabric });
    await Promise.all(cluster.members.map((member) => member.must('network', 'create', '-d', 'vpc', ...NETWORK)));
    await cluster.cloud?.control.fault({ fault: { kind: 'delay', ms: api }, forMs: FOR_EVER_MS });
    const runs = await measure(cluster, moves);
    const medians = Object.fromEntries(
      FIELDS.map((field) => [field, rounded(median(runs.map((one) => one[field])))]),
    ) as Record<keyof Move, number>;
    console.log(
      table([
        ['median of ms', ...FIELDS],
        [provider, ...FIELDS.map((field) => medians[field].toFixed(0))],
      ]),
    );
    const slow = cluster.cloud === undefined ? {} : { api_ms: api };
    writeJson(values.json, { provider, medians, runs, moves, ...slow, engine, machine: before });
  } finally {
    for (const end of ends) await end();
  }
}

await main().catch((error: unknown) => {
  console.error(`bench: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
});
