/**
 * Volumes of objects beside s3fs, rclone (full cache) and, where its program is on the PATH, geesefs, in one run against the
 * same server, turn by turn:
 *
 *     npm run bench:object -- [--latencies 0,15] [--only ours,s3fs] [--works read,write] [--rounds 1] [--small] [--json FILE]
 *
 * a) sequential read of 1 GiB; b) sequential write of 1 GiB with fsync and close; c) 1,000 files of 4 KiB until all are on the
 * server, by 64 writers at once, and by one; d) `ls -l` of 10,000, cold and warm; e) warm stat; f) random reads of 4 KiB of
 * 256 MiB for 10 s at most, no page twice; g) 16 readers of 2,000 files of 16 KiB. Every measurement begins with a new mount whose
 * caches are empty (d warm and e follow d). Writes count until the server has all of it, whatever the mount has said before.
 * CPU seconds and peak memory are those of the mount's processes. `ours` has the volume's usual options, which keep close-to-open between hosts and
 * return from close when the server has it, and are told that the store is AWS S3, which the server simulates (checksums and conditions that a
 * store of nobody known is not trusted with); `ours_relaxed` has consistency=relaxed,durability=local, which is what the others do
 * by default. `bare` is a loop of parallel ranged GETs through our own client. `--small`: a tenth of everything.
 */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { must, run } from '../rig/command.ts';
import { isMeasured, judged, type Row } from './object-figures.ts';
import { type BucketMount, type Mounter, PEERS } from './object-mounts.ts';
import { OURS } from './object-ours.ts';
import { ObjectServer } from './object-server.ts';
import type { Measured, Work } from './object-works.ts';
import { count, machine, say, table, writeJson } from './report.ts';
import { median, rounded } from './statistics.ts';

const WORK_MS = 400_000;
/** For bytes that a mount has acknowledged and not brought to the server. */
const STORED_MS = 300_000;
const TICKS = 100;

interface Sizes {
  readonly readMib: number;
  readonly created: number;
  readonly listed: number;
  readonly randomMib: number;
  readonly small: number;
  readonly seconds: number;
}

const SIZES: Sizes = { readMib: 1024, created: 1000, listed: 10_000, randomMib: 256, small: 2000, seconds: 10 };
const TENTH: Sizes = { readMib: 103, created: 100, listed: 1000, randomMib: 26, small: 200, seconds: 2 };

/** What one measurement has found, by the names of the figures. */
type Found = Readonly<Record<string, number>>;

/** A mount under measurement. */
interface Scene {
  readonly server: ObjectServer;
  readonly mount: BucketMount;
  readonly prefix: string;
  readonly sizes: Sizes;
}

const MIB = 1 << 20;

async function work(name: Work, folder: string, ...numbers: readonly number[]): Promise<Measured> {
  const program = path.join(import.meta.dirname, 'object-works.ts');
  const env = { ...process.env, UV_THREADPOOL_SIZE: '128' };
  const argv = [process.execPath, program, name, folder, ...numbers.map(String)];
  return JSON.parse(await must(argv, { env, timeoutMs: WORK_MS })) as Measured;
}

/** Seconds until the server has so many files and bytes. */
async function untilStored({ server, prefix }: Scene, files: number, bytes: number): Promise<number> {
  const started = performance.now();
  for (;;) {
    const waited = performance.now() - started;
    const stored = await server.stored(`${prefix}/`);
    if (stored.count >= files && stored.bytes >= bytes) return waited / 1000;
    if (waited > STORED_MS) throw new Error(`the server has ${stored.count} files of ${stored.bytes} bytes`);
    await sleep(20);
  }
}

async function list(target: string): Promise<number> {
  const { code, stderr, ms } = await run(['sh', '-c', 'exec ls -l "$0" > /dev/null', target], { timeoutMs: WORK_MS });
  if (code !== 0) throw new Error(`ls: ${stderr}`);
  return ms / 1000;
}

interface Measurement {
  readonly name: string;
  /** What is on the server before: files, and bytes of each. */
  readonly seeded: (sizes: Sizes) => readonly [files: number, bytes: number];
  measure(scene: Scene): Promise<Found>;
}

const MEASUREMENTS: readonly Measurement[] = [
  {
    name: 'read',
    seeded: ({ readMib }) => [1, readMib * MIB],
    measure: async ({ mount, sizes }) => {
      const { seconds = 0, bytes = 0 } = await work('read', mount.target);
      if (bytes !== sizes.readMib * MIB) throw new Error(`${bytes} bytes were read`);
      return { read_mbps: bytes / 1e6 / seconds };
    },
  },
  {
    name: 'write',
    seeded: () => [0, 0],
    measure: async (scene) => {
      const { readMib } = scene.sizes;
      const { seconds = 0 } = await work('write', scene.mount.target, readMib);
      const until = await untilStored(scene, 1, readMib * MIB);
      return { write_mbps: (readMib * 1.048576) / (seconds + until), write_returned_s: seconds };
    },
  },
  ...([64, 1] as const).map((writers): Measurement => {
    const figure = writers === 1 ? 'create_one_by_one_s' : 'create_s';
    return {
      name: writers === 1 ? 'create-one-by-one' : 'create',
      seeded: () => [0, 0],
      measure: async (scene) => {
        const { created } = scene.sizes;
        const { seconds = 0 } = await work('create', scene.mount.target, created, writers);
        return { [figure]: seconds + (await untilStored(scene, created, created * 4096)) };
      },
    };
  }),
  {
    name: 'list',
    seeded: ({ listed }) => [listed, 1000],
    measure: async ({ mount, sizes }) => {
      const [cold, warm] = [await list(mount.target), await list(mount.target)];
      const { per_second: stats = 0 } = await work('stat', mount.target, sizes.listed, sizes.seconds / 5);
      return { ls_cold_s: cold, ls_warm_s: warm, stat_per_s: stats };
    },
  },
  {
    name: 'random',
    seeded: ({ randomMib }) => [1, randomMib * MIB],
    measure: async ({ mount, sizes }) => {
      const { per_second: iops = 0, first_second: first = 0 } = await work(
        ...(['random', mount.target, sizes.randomMib, sizes.seconds] as const),
      );
      return { random_iops: iops, random_first_second: first };
    },
  },
  {
    name: 'small',
    seeded: ({ small }) => [small, 16_384],
    measure: async ({ mount, sizes }) => {
      const { per_second: files = 0 } = await work('small', mount.target, sizes.small, 16);
      return { small_files_per_s: files };
    },
  },
];

/** CPU seconds that processes (and what they have waited for) have used, and their peak memory in bytes. */
function used(pids: readonly number[]): { cpu: number; rss: number } {
  let [cpu, rss] = [0, 0];
  for (const pid of pids) {
    if (!existsSync(`/proc/${pid}/stat`)) throw new Error('the mount has ended');
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    for (const field of fields.slice(11, 15)) cpu += Number(field) / TICKS;
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    rss += Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1024;
  }
  return { cpu, rss };
}

let folders = 0;

/** One measurement with a mount of its own. */
async function once(
  server: ObjectServer,
  mounter: Mounter,
  measurement: Measurement,
  sizes: Sizes,
  latency: number,
): Promise<Found> {
  folders += 1;
  const prefix = `${mounter.name}-${measurement.name}-${folders}`.replaceAll('_', '-');
  await server.latency(0);
  await server.seed(prefix, ...measurement.seeded(sizes));
  await server.latency(latency);
  const mount = await mounter.mount(server, prefix);
  try {
    await server.counts();
    const before = used(mount.pids());
    const found = await measurement.measure({ server, mount, prefix, sizes });
    const after = used(mount.pids());
    const requests = Object.values(await server.counts()).reduce((sum, one) => sum + one, 0);
    const { name } = measurement;
    return {
      ...found,
      [`${name}_cpu_s`]: after.cpu - before.cpu,
      [`${name}_rss_mb`]: after.rss / 1e6,
      [`${name}_requests`]: requests,
    };
  } finally {
    await server.latency(0);
    await mount.end();
    await server.drop(prefix);
  }
}

async function bare(server: ObjectServer, sizes: Sizes, latency: number): Promise<Found> {
  await server.latency(0);
  await server.seed('bare', 1, sizes.readMib * MIB);
  await server.latency(latency);
  const { endpoint, bucket, key } = server;
  const credentials = { accessKeyId: key.id, accessKeySecret: key.secret };
  const description = { kind: 's3', bucket, endpoint, region: 'us-east-1', credentials };
  const program = path.join(import.meta.dirname, 'object-bare.ts');
  const text = await must([process.execPath, program, JSON.stringify(description), 'bare/big'], { timeoutMs: WORK_MS });
  const { seconds = 0, bytes = 0, cpu = 0, rss = 0 } = JSON.parse(text) as Measured;
  return { read_mbps: bytes / 1e6 / seconds, read_cpu_s: cpu, read_rss_mb: rss };
}

/** Medians of what rounds have found, and the peak of memory. */
function row(rounds: readonly Found[]): Row {
  const names = [...new Set(rounds.flatMap((found) => Object.keys(found)))];
  const figures = Object.fromEntries(
    names.map((name) => [name, rounded(median(rounds.map((found) => found[name] ?? Number.NaN).filter(isMeasured)))]),
  );
  const peaks = Object.entries(figures).flatMap(([name, value]) => (name.endsWith('_rss_mb') ? [value] : []));
  return { ...figures, ...(peaks.length > 0 && { rss_mb: Math.max(...peaks) }) };
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      latencies: { type: 'string', default: '0,15' },
      only: { type: 'string' },
      works: { type: 'string' },
      rounds: { type: 'string', default: '1' },
      small: { type: 'boolean', default: false },
      json: { type: 'string' },
    },
  });
  const wanted = values.only?.split(',');
  const rounds = count(values.rounds, 'rounds');
  const sizes = values.small ? TENTH : SIZES;
  const works = MEASUREMENTS.filter(({ name }) => values.works?.split(',').includes(name) ?? true);
  const before = machine();
  const versions: Record<string, string> = {};
  const mounters: Mounter[] = [];
  for (const mounter of [...OURS, ...PEERS].filter(({ name }) => wanted?.includes(name) ?? true)) {
    const version = await mounter.version();
    versions[mounter.name] = version ?? 'not to be had here';
    if (version === undefined) say(`${mounter.name} is left out: its program is not on the PATH`);
    else mounters.push(mounter);
  }
  const results: Record<string, Record<string, Row>> = {};
  const failures: string[] = [];
  const save = (): void => {
    const load = { load_at_end: machine().load };
    writeJson(values.json, { ...results, versions, failures, rounds, small: values.small, machine: before, ...load });
  };
  const server = await ObjectServer.start();
  try {
    for (const latency of values.latencies.split(',').map(Number)) {
      const found = new Map<string, Found[]>();
      const note = (name: string, one: Found): void => {
        found.set(name, [...(found.get(name) ?? []), one]);
        results[latency] = Object.fromEntries([...found].map(([each, all]) => [each, row(all)]));
        // At once: a run takes long, and may be cut off.
        save();
        const shown = Object.entries(one).map(([figure, value]) => `${figure} ${rounded(value, 3)}`);
        say(`${latency} ms, ${name}: ${shown.join(', ')}`);
      };
      for (let round = 0; round < rounds; round += 1) {
        for (const measurement of works) {
          if (measurement.name === 'read' && (wanted?.includes('bare') ?? true))
            note('bare', await bare(server, sizes, latency));
          // By turns another one comes first.
          for (const turn of mounters.keys()) {
            const mounter = mounters[(turn + round) % mounters.length];
            if (mounter === undefined) continue;
            try {
              note(mounter.name, await once(server, mounter, measurement, sizes, latency));
            } catch (error) {
              const text = `${latency} ms, ${mounter.name}, ${measurement.name}: ${(error as Error).message.slice(0, 500)}`;
              failures.push(text);
              say(text);
            }
          }
        }
      }
    }
  } finally {
    server.close();
  }
  for (const [latency, rows] of Object.entries(results)) {
    const names = Object.keys(rows);
    const figures = [...new Set(Object.values(rows).flatMap((one) => Object.keys(one)))];
    const lines = figures.map((figure) => [figure, ...names.map((name) => rows[name]?.[figure]?.toString() ?? '–')]);
    console.log(table([[`${latency} ms`, ...names], ...lines]));
    console.log(judged(rows).join('\n'));
  }
  for (const failure of failures) console.log(`failed: ${failure}`);
  save();
  if (failures.length > 0) process.exitCode = 1;
}

await main().catch((error: unknown) => {
  console.error(`bench: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
});
