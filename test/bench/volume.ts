/**
 * What a volume of the `cloudvol` driver costs: `docker run -v` beside Docker's own `local` driver, Get and List with a
 * thousand volumes, the disk beside one that is mounted by hand, and a move from one host to another.
 *
 *     npm run bench:volume -- [--rounds 15] [--volumes 1000] [--engine 28] [--json FILE]
 *
 * Disks are files (`loop`), in a folder that two hosts share.
 */
import { parseArgs } from 'node:util';
import { NAME, VolumeHost } from '../integration/support/volume-host.ts';
import { run } from '../rig/command.ts';
import { ENGINES, type EngineVersion } from '../rig/packages.ts';
import { Rig } from '../rig/rig.ts';
import { count, machine, say, table, writeJson } from './report.ts';
import { median, percentile, rounded } from './statistics.ts';

const IMAGE = 'drayage/box:1';
/** Calls of Get and of List. */
const CALLS = 1_000;
const FIO_ROUNDS = 5;
const FIO_SECONDS = 4;
const FOLDER = '/var/lib/drayage/loop';

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

/** Over the plugin's socket, as the engine calls. */
async function catalogue(host: VolumeHost, volumes: number) {
  const names = Array.from({ length: volumes }, (_, index) => `many${index}`);
  for (const name of names) {
    const { status, body } = await host.plugin.call('VolumeDriver.Create', { Name: name, Opts: { size: '16MiB' } });
    if (status !== 200) throw new Error(`Create: ${JSON.stringify(body)}`);
  }
  const times = { Get: [] as number[], List: [] as number[] };
  for (let call = 0; call < CALLS; call += 1) {
    for (const method of ['Get', 'List'] as const) {
      const answer = await host.plugin.call(`VolumeDriver.${method}`, { Name: names[call % names.length] });
      if (answer.status !== 200) throw new Error(`${method}: ${JSON.stringify(answer.body)}`);
      times[method].push(answer.ms);
    }
  }
  return {
    get_p99_ms: rounded(percentile(times.Get, 0.99)),
    get_p50_ms: rounded(median(times.Get)),
    list_p99_ms: rounded(percentile(times.List, 0.99)),
    list_p50_ms: rounded(median(times.List)),
  };
}

/** Operations a second of random writes past the page cache. */
async function fio(folder: string): Promise<number> {
  const text = await must([
    ...['fio', '--name=bench', `--directory=${folder}`, '--size=96m', '--rw=randwrite', '--bs=4k', '--direct=1'],
    ...['--ioengine=psync', '--time_based', `--runtime=${FIO_SECONDS}`, '--output-format=json'],
  ]);
  const { jobs } = JSON.parse(text) as { jobs: [{ write: { iops: number } }] };
  return jobs[0].write.iops;
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
    const ratios: number[] = [];
    for (let round = 0; round < FIO_ROUNDS; round += 1) {
      const hand = await fio(byHand);
      const ours = await fio(volume);
      ratios.push(ours / hand);
      say(`fio: ${Math.round(ours)} beside ${Math.round(hand)} operations a second`);
    }
    return { fio_ratio: rounded(median(ratios)), fio_ratios: ratios.map((ratio) => rounded(ratio)) };
  } finally {
    await host.host.exec(['umount', folder]);
    await run(['losetup', '--detach', device]);
    await host.must('rm', '-f', 'fio');
  }
}

/** From `docker stop` on one host to the process that reads its data on the other. */
async function move(from: VolumeHost, to: VolumeHost, rounds: number) {
  await from.must('volume', 'create', '-d', NAME, '-o', 'size=64MiB', 'bench-move');
  const total: number[] = [];
  for (let round = 0; round <= rounds; round += 1) {
    await from.must('run', '-d', '--name', 'mover', '-v', 'bench-move:/d', IMAGE, 'sleep', 'infinity');
    await from.must('exec', 'mover', 'sh', '-c', `echo round${round} > /d/round`);
    const started = performance.now();
    await from.must('stop', '-t', '0', 'mover');
    for (;;) {
      const read = await to.host.docker(['run', '--rm', '-v', 'bench-move:/d', IMAGE, 'cat', '/d/round']);
      if (read.stdout.trim() === `round${round}`) break;
      if (read.code === 0) throw new Error(`the other host read "${read.stdout.trim()}" in round ${round}`);
      if (performance.now() - started > 60_000) throw new Error(`the move did not end: ${read.stderr.trim()}`);
    }
    if (round > 0) total.push(performance.now() - started);
    await from.must('rm', 'mover');
    await to.untilGone('bench-move');
  }
  // With files there is no cloud: all of it is ours.
  return { total_ms: rounded(median(total)), ours_ms: rounded(median(total)) };
}

async function measure({ engine, rounds, volumes }: Extent) {
  say('starts two hosts');
  const rig = await Rig.up({ hosts: 2, engine });
  try {
    const [first, second] = [rig.host(1), rig.host(2)];
    await second.must(['mkdir', '-p', `${first.stateFolder}/loop`, FOLDER]);
    await second.must(['mount', '--bind', `${first.stateFolder}/loop`, FOLDER]);
    const one = await VolumeHost.install(first, { NODE_NAME: 'host1' });
    const two = await VolumeHost.install(second, { NODE_NAME: 'host2' });
    say('docker run');
    const docker = await dockerRun(one, rounds);
    say('move');
    const moved = await move(one, two, rounds);
    const ratio = await fioRatio(one);
    say(`${volumes} volumes`);
    return { docker_run: docker, ...(await catalogue(one, volumes)), ...ratio, move: moved };
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
      [`List with ${extent.volumes} volumes, p99`, ms(found.list_p99_ms)],
      ['move to another host', ms(found.move.total_ms)],
    ]),
  );
  console.log(`fio, volume to hand mount: ${found.fio_ratio}`);
  writeJson(values.json, { ...found, ...extent, machine: before });
}

await main().catch((error: unknown) => {
  console.error(`bench: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
});
