/**
 * What a volume of the `cloudvol` driver costs: `docker run -v` beside Docker's own `local` driver, Get and List with a
 * thousand volumes, the disk beside one that is mounted by hand, and a move from one host to another.
 *
 *     npm run bench:volume -- [--rounds 15] [--volumes 1000] [--engine 28] [--json FILE]
 *
 * Disks are files (`loop`), in a folder that two hosts share: there is no cloud. What a move costs with one is measured beside
 * it, without Docker, with disks of EBS in the simulated AWS (see move-ebs.ts).
 */
import { truncateSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { ask } from '../../bin/cli/client.ts';
import { describeRequest, descriptionOfToken } from '../../volume-plugin/block/loop-files.ts';
import { NAME, VolumeHost } from '../integration/support/volume-host.ts';
import { run } from '../rig/command.ts';
import { diskFolder, shareDisks } from '../rig/disks.ts';
import { ENGINES, type EngineVersion } from '../rig/packages.ts';
import { Rig } from '../rig/rig.ts';
import { count, machine, say, table, writeJson } from './report.ts';
import { median, percentile, rounded } from './statistics.ts';

const IMAGE = 'drayage/box:1';
/** Calls of Get, of List and of Path. */
const CALLS = 1_000;
/** Many short ones, turn by turn: what else the machine does then meets both alike. */
const FIO_ROUNDS = 30;
const FIO_SECONDS = 1;
const MIB = 2 ** 20;

interface Extent {
  readonly engine: EngineVersion;
  readonly rounds: number;
  readonly volumes: number;
}

async function must(argv: readonly string[]): Promise<string> {
  const outcome = await run(argv, { timeoutMs: 120_000 });
  if (outcome.code !== 0) throw new Error(`${argv.join(' ')}: ${outcome.stderr.trim()}`);
  return outcome.stdout;
}

/** `docker run --rm -v`, turn by turn with either driver; each run mounts and unmounts. */
async function dockerRun(host: VolumeHost, rounds: number) {
  await host.must('volume', 'create', 'bench-local');
  await host.must('volume', 'create', '-d', NAME, '-o', 'size=64MiB', 'bench-cloud');
  const times = { 'bench-local': [] as number[], 'bench-cloud': [] as number[] };
  for (let round = 0; round <= rounds; round += 1) {
    for (const name of ['bench-local', 'bench-cloud'] as const) {
      const started = performance.now();
      await host.must('run', '--rm', '--network', 'none', '-v', `${name}:/d`, IMAGE, 'true');
      // The first ones warm up, and make the file system.
      if (round > 0) times[name].push(performance.now() - started);
      if (name === 'bench-cloud') await host.untilGone(name);
    }
  }
  return { local_ms: rounded(median(times['bench-local'])), cloudvol_ms: rounded(median(times['bench-cloud'])) };
}

/**
 * Disks as another host of the cluster would have made them: each creation looks at all disks for room and waits for its
 * files to be durable, and a thousand of them are not what is measured here.
 */
async function makeDisks(host: VolumeHost, names: readonly string[]): Promise<void> {
  const folder = diskFolder(host.host);
  for (const volume of names) {
    const description = describeRequest({ volume, size: 16 * MIB, tags: { options: '{"size":"16m"}' } }, volume);
    writeFileSync(join(folder, descriptionOfToken('loop', volume, volume)), JSON.stringify(description));
    writeFileSync(join(folder, `${description.id}.img`), '');
    truncateSync(join(folder, `${description.id}.img`), description.size);
  }
  await ask(join(host.host.stateFolder, 'volume/admin.sock'), '/Drayage.Refresh', {}, 60_000);
}

/** Milliseconds of one call over a connection that is kept, as the engine keeps its own. */
function timed(socketPath: string, agent: Agent, method: string, body: unknown): Promise<number> {
  const started = performance.now();
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const call = request({ socketPath, agent, path: `/VolumeDriver.${method}`, method: 'POST' }, (response) => {
    response.resume();
    response.once('error', reject);
    response.once('end', () => {
      if (response.statusCode === 200) resolve(performance.now() - started);
      else reject(new Error(`${method} was answered ${response.statusCode}`));
    });
  });
  call.once('error', reject);
  call.end(JSON.stringify(body));
  return promise;
}

/** Over the plugin's socket, as the engine calls. */
async function catalogue(host: VolumeHost, volumes: number) {
  const names = Array.from({ length: volumes }, (_, index) => `many${index}`);
  await makeDisks(host, names);
  const times = { Get: [] as number[], List: [] as number[], Path: [] as number[] };
  const agent = new Agent({ keepAlive: true });
  const socket = host.plugin.socket();
  for (let call = 0; call < CALLS; call += 1) {
    for (const method of ['Get', 'List', 'Path'] as const) {
      times[method].push(await timed(socket, agent, method, { Name: names[call % names.length] }));
    }
  }
  agent.destroy();
  return {
    get_p99_ms: rounded(percentile(times.Get, 0.99)),
    get_p50_ms: rounded(median(times.Get)),
    list_p99_ms: rounded(percentile(times.List, 0.99)),
    list_p50_ms: rounded(median(times.List)),
    path_p99_ms: rounded(percentile(times.Path, 0.99)),
    path_p50_ms: rounded(median(times.Path)),
  };
}

const FIO = ['fio', '--name=bench', '--size=96m', '--direct=1', '--ioengine=psync', '--output-format=json'];

/** Writes the whole file once: the first write of each block would take longer. */
async function layOut(folder: string): Promise<void> {
  await must([...FIO, `--directory=${folder}`, '--rw=write', '--bs=1m', '--end_fsync=1']);
}

interface FioResult {
  /** Operations a second. */
  readonly rate: number;
  /** Nanoseconds that one of the quickest tenth takes at most: what nobody else's work has come between. */
  readonly quick: number;
}

/** Random writes past the page cache. */
async function fio(folder: string): Promise<FioResult> {
  const how = ['--rw=randwrite', '--bs=4k', '--overwrite=1', '--time_based', `--runtime=${FIO_SECONDS}`];
  const text = await must([...FIO, `--directory=${folder}`, ...how]);
  type Written = { iops: number; clat_ns: { percentile: Record<string, number> } };
  const [{ write }] = (JSON.parse(text) as { jobs: [{ write: Written }] }).jobs;
  return { rate: write.iops, quick: write.clat_ns.percentile['10.000000'] ?? Number.NaN };
}

/** A volume beside a disk of the same kind that is mounted by hand with the same options. */
async function fioRatio(host: VolumeHost) {
  await host.must('volume', 'create', '-d', NAME, '-o', 'size=256MiB', 'bench-fio');
  await host.must('run', '-d', '--name', 'fio', '-v', 'bench-fio:/d', IMAGE, 'sleep', 'infinity');
  const root = `/proc/${host.plugin.pid() ?? 0}/root`;
  const volume = `${root}${(await host.volume('bench-fio')).Path}`;
  const image = `${host.host.stateFolder}/by-hand.img`;
  const folder = '/run/by-hand';
  await must(['truncate', '-s', '256M', image]);
  const device = (await must(['losetup', '--find', '--show', '--direct-io=on', image])).trim();
  try {
    await must(['mkfs.ext4', '-q', device]);
    await host.host.must(['mkdir', '-p', folder]);
    await host.host.must(['mount', '-t', 'ext4', '-o', 'nodev,noatime', device, folder]);
    const byHand = `/proc/${host.host.machine.pid}/root${folder}`;
    const [ratios, quick]: [number[], number[]] = [[], []];
    for (const place of [byHand, volume]) await layOut(place);
    for (let round = 0; round < FIO_ROUNDS; round += 1) {
      // By turns the one or the other comes first.
      const first = await fio(round % 2 === 0 ? byHand : volume);
      const second = await fio(round % 2 === 0 ? volume : byHand);
      const [hand, ours] = round % 2 === 0 ? [first, second] : [second, first];
      ratios.push(ours.rate / hand.rate);
      quick.push(hand.quick / ours.quick);
      say(`fio: ${Math.round(ours.rate)} beside ${Math.round(hand.rate)} operations a second`);
    }
    const spread = [0.25, 0.75].map((part) => rounded(percentile(ratios, part)));
    return { fio_ratio: rounded(median(ratios)), fio_quartiles: spread, fio_quick_ratio: rounded(median(quick)) };
  } finally {
    await host.host.exec(['umount', folder]);
    await run(['losetup', '--detach', device]);
    await host.must('rm', '-f', 'fio');
  }
}

/** `docker stop` on one host, then `docker run` on the other until its process has read what was written. */
async function stopAndRead(from: VolumeHost, to: VolumeHost, volume: string, text: string): Promise<number> {
  const started = performance.now();
  await from.must('stop', '-t', '0', 'mover');
  for (;;) {
    const read = await to.host.docker([
      'run',
      '--rm',
      '--network',
      'none',
      '-v',
      `${volume}:/d`,
      IMAGE,
      'cat',
      '/d/round',
    ]);
    if (read.stdout.trim() === text) return performance.now() - started;
    if (read.code === 0) throw new Error(`the other host read "${read.stdout.trim()}" instead of "${text}"`);
    if (performance.now() - started > 60_000) throw new Error(`the move did not end: ${read.stderr.trim()}`);
  }
}

/**
 * A move, beside the same two commands with volumes of Docker's own on either host, which take the time that is Docker's.
 * What the move takes longer is the cloud's time and ours; with files there is no cloud.
 */
async function move(from: VolumeHost, to: VolumeHost, rounds: number) {
  await from.must('volume', 'create', '-d', NAME, '-o', 'size=64MiB', 'bench-move');
  const times = { 'bench-own': [] as number[], 'bench-move': [] as number[] };
  for (let round = 0; round <= rounds; round += 1) {
    for (const volume of ['bench-own', 'bench-move'] as const) {
      const write = ['sh', '-c', `echo round${round} > /d/round`];
      if (volume === 'bench-own') await to.must('run', '--rm', '-v', `${volume}:/d`, IMAGE, ...write);
      await from.must('run', '-d', '--name', 'mover', '--network', 'none', '-v', `${volume}:/d`, IMAGE, 'sleep', '900');
      await from.must('exec', 'mover', ...write);
      const ms = await stopAndRead(from, to, volume, `round${round}`);
      if (round > 0) times[volume].push(ms);
      await from.must('rm', 'mover');
      if (volume === 'bench-move') await to.untilGone(volume);
    }
  }
  const [total, own] = [median(times['bench-move']), median(times['bench-own'])];
  const ours = rounded(total - own);
  return { disks: 'files: no cloud', total_ms: rounded(total), docker_ms: rounded(own), cloud_ms: 0, ours_ms: ours };
}

/** With a cloud, whose own time is known: so many moves. */
const MOVES = 5;

interface EbsMove {
  readonly total_ms: number;
  readonly cloud_ms: number;
  readonly ours_ms: number;
}

/** In a mount namespace of its own, which ends with it. */
async function moveEbs(): Promise<EbsMove> {
  const program = fileURLToPath(new URL('move-ebs.ts', import.meta.url));
  const namespace = ['unshare', '--mount', '--propagation', 'slave'];
  return JSON.parse(await must([...namespace, process.execPath, program, String(MOVES)])) as EbsMove;
}

async function measure({ engine, rounds, volumes }: Extent) {
  say('move of a simulated disk of EBS');
  const ebs = await moveEbs();
  say('starts two hosts');
  const rig = await Rig.up({ hosts: 2, engine });
  try {
    const [first, second] = [rig.host(1), rig.host(2)];
    await shareDisks(first, second);
    const one = await VolumeHost.install(first, { NODE_NAME: 'host1' });
    const two = await VolumeHost.install(second, { NODE_NAME: 'host2' });
    say('docker run');
    const docker = await dockerRun(one, rounds);
    say('move');
    const moved = await move(one, two, rounds);
    const ratio = await fioRatio(one);
    say(`${volumes} volumes`);
    return { docker_run: docker, ...(await catalogue(one, volumes)), ...ratio, move: moved, move_ebs: ebs };
  } finally {
    await rig.down();
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '15' },
      volumes: { type: 'string', default: '1000' },
      engine: { type: 'string', default: '28' },
      json: { type: 'string' },
    },
  });
  const engine = ENGINES.find((version) => version === values.engine);
  if (engine === undefined) throw new Error(`--engine ${values.engine} is none of ${ENGINES.join(', ')}.`);
  const extent = { engine, rounds: count(values.rounds, 'rounds'), volumes: count(values.volumes, 'volumes') };
  const before = machine();
  const found = await measure(extent);
  const { docker_run: docker } = found;
  const ms = (value: number): string => value.toFixed(1);
  console.log(
    table([
      ['', 'ms'],
      ['docker run -v, local', ms(docker.local_ms)],
      ['docker run -v, cloudvol', ms(docker.cloudvol_ms)],
      [`Get with ${extent.volumes} volumes, p99`, ms(found.get_p99_ms)],
      [`Path with ${extent.volumes} volumes, p99`, ms(found.path_p99_ms)],
      [`List with ${extent.volumes} volumes, p99`, ms(found.list_p99_ms)],
      ['docker stop to data read on another host, files (no cloud)', ms(found.move.total_ms)],
      ['  of that the same with volumes of Docker', ms(found.move.docker_ms)],
      ['  of that ours', ms(found.move.ours_ms)],
      ['Unmount to data read on another host, simulated EBS', ms(found.move_ebs.total_ms)],
      ['  of that the cloud’s, detaching and attaching', ms(found.move_ebs.cloud_ms)],
      ['  of that ours', ms(found.move_ebs.ours_ms)],
    ]),
  );
  const [low, high] = found.fio_quartiles;
  console.log(`fio, volume to hand mount: ${found.fio_ratio} (half of the rounds between ${low} and ${high}),`);
  console.log(`  by the time of one quick write, which others disturb less: ${found.fio_quick_ratio}`);
  console.log(`load at the beginning ${before.load}, at the end ${machine().load}`);
  writeJson(values.json, { ...found, ...extent, machine: before, load_at_end: machine().load });
}

await main().catch((error: unknown) => {
  console.error(`bench: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
});
