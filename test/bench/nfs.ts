/**
 * What a volume on a share of NFS costs: its data path and `docker run -v` beside the same share mounted by hand in the
 * same host and beside a volume of Docker's own (driver `local`), which mounts the share for each container; and how soon
 * it is said what is wrong with a share that cannot be mounted.
 *
 *     npm run bench:nfs -- [--rounds 15] [--json FILE]
 *
 * Host and server are virtual machines that are emulated: times are many times those of a real machine, ratios are not. How
 * many times, `docker run -v` of a folder on an engine of this machine tells, in the same rounds.
 */
import { mkdirSync, symlinkSync } from 'node:fs';
import { copyFile, mkdir } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { create, createMust, nfsRigFor, SHARE, statusOf } from '../integration/support/vm-nfs.ts';
import { must, until } from '../rig/command.ts';
import type { Host } from '../rig/host.ts';
import { Rig } from '../rig/rig.ts';
import { IMAGE } from '../rig/vm/guest.ts';
import type { VirtualMachine } from '../rig/vm/machine.ts';
import { VmMedia } from '../rig/vm/media.ts';
import type { NfsServer } from '../rig/vm/nfs-server.ts';
import type { Vms } from '../rig/vm/rig.ts';
import { count, machine, say, table, writeJson } from './report.ts';
import { median, percentile, rounded } from './statistics.ts';

const HAND = '/mnt/by-hand';
const TOOLS = '/mnt/tools';
/** Many short ones, turn by turn: what else the machine does then meets both alike. */
const FIO_SECONDS = 2;
const FAILURE_ROUNDS = 5;

/** fio of this machine, with its libraries, on a disk of the host. */
async function plugFio(vms: Vms, host: VirtualMachine): Promise<string> {
  const folder = path.join(vms.rig.folder, 'bench');
  const files = path.join(folder, 'files');
  await mkdir(files, { recursive: true });
  mkdirSync(path.join(folder, 'instances'));
  mkdirSync(path.join(folder, 'disks'));
  symlinkSync(host.folder, path.join(folder, 'instances/host'));
  const fio = await must(['which', 'fio']);
  const linked = await must(['ldd', fio]);
  for (const file of [fio, ...[...linked.matchAll(/(\/\S+) \(0x/g)].map(([, library = '']) => library)]) {
    await copyFile(file, path.join(files, path.basename(file)));
  }
  const bytes = 256 * 2 ** 20;
  await must(['mkfs.ext4', '-q', '-d', files, path.join(folder, 'disks/tools'), String(bytes / 1024)]);
  const disk = { id: 'tools', serial: 'tools', bus: 'virtio', bytes } as const;
  await new VmMedia(folder).attach(disk, 'host');
  const device = await until('the disk with fio', () => host.deviceOf(disk.serial), { timeoutMs: 20_000 });
  await host.must(['sh', '-c', `mkdir -p ${TOOLS} && mount -o ro /dev/${device} ${TOOLS}`]);
  return `${TOOLS}/ld-linux-x86-64.so.2 --library-path ${TOOLS} ${TOOLS}/fio`;
}

/**
 * As the plugin mounts it, into a folder of its own: with the same options the kernel has one file system for both, on one
 * connection. Resolves with the options.
 */
async function mountByHand(host: VirtualMachine, server: NfsServer): Promise<string> {
  await createMust(host, 'first');
  const run = ['run', '--rm', '--network', 'host', '-v', 'first:/d', IMAGE, 'grep', ' /d nfs', '/proc/mounts'];
  const shown = (await host.dockerMust(run)).split(' ')[3] ?? '';
  await host.must(['mkdir', '-p', HAND]);
  await host.must(['mount', '-i', '-t', 'nfs4', '-o', shown, server.id(SHARE), HAND]);
  await host.must(['mkdir', '-p', `${HAND}/hand`]);
  return shown;
}

interface FioResult {
  /** Operations a second. */
  readonly rate: number;
  /** Nanoseconds that one of the quickest tenth takes at most: what nobody else's work has come between. */
  readonly quick: number;
}

/** Of a volume to a folder of the mount by hand; `control`: of another folder of that mount. */
interface Ratios {
  readonly ratio: number;
  readonly quartiles: readonly number[];
  readonly quick_ratio: number;
  readonly by_hand: number;
  readonly control_ratio: number;
  readonly control_quartiles: readonly number[];
}

const WORKS = {
  random_writes: ['--rw=randwrite', '--bs=4k'],
  writes: ['--rw=write', '--bs=128k'],
  reads: ['--rw=read', '--bs=128k'],
} as const satisfies Record<string, readonly string[]>;
type Work = keyof typeof WORKS;

/** Past the page cache. */
async function fio(host: VirtualMachine, program: string, folder: string, work: Work): Promise<FioResult> {
  const file = ['--name=bench', '--size=16m', '--direct=1', '--ioengine=psync', `--directory=${folder}`];
  const how = [...WORKS[work], '--overwrite=1', '--time_based', `--runtime=${FIO_SECONDS}`, '--output-format=json'];
  const text = await host.must(['sh', '-c', `${program} ${[...file, ...how].join(' ')}`]);
  type Done = { iops: number; clat_ns: { percentile?: Record<string, number> } };
  const [{ read, write }] = (JSON.parse(text) as { jobs: [{ read: Done; write: Done }] }).jobs;
  const { iops, clat_ns: latency } = work === 'reads' ? read : write;
  return { rate: iops, quick: latency.percentile?.['10.000000'] ?? Number.NaN };
}

/** A folder of a volume beside one of the share that is mounted by hand, and beside a second one of that: what chance alone does. */
async function fioRatios(host: VirtualMachine, program: string, rounds: number) {
  await createMust(host, 'bench-fio');
  const run = ['run', '-d', '--name', 'fio', '--network', 'host', '-v', 'bench-fio:/d', IMAGE, 'sleep', '86400'];
  await host.dockerMust(run);
  // Where the engine has it: the path that docker volume inspect shows is one inside of the plugin.
  const mounts = await host.must(['cat', '/proc/1/mountinfo']);
  const [, device, volume] = /^\d+ \d+ (\S+) \S+ (\S+\/propagated-mount\/bench-fio) /m.exec(mounts) ?? [];
  if (device === undefined || volume === undefined) throw new Error('the volume is mounted nowhere');
  const deviceByHand = new RegExp(`^\\d+ \\d+ (\\S+) \\S+ ${HAND} `, 'm').exec(mounts)?.[1];
  const found: Record<string, Ratios> = {};
  await host.must(['mkdir', '-p', `${HAND}/again`]);
  const places = [`${HAND}/hand`, volume, `${HAND}/again`];
  for (const work of Object.keys(WORKS) as Work[]) {
    const [ratios, quick, rates, control]: [number[], number[], number[], number[]] = [[], [], [], []];
    for (let round = 0; round <= rounds; round += 1) {
      const results = new Map<string, FioResult>();
      // By turns each of them comes first.
      for (const turn of places.keys()) {
        const place = places[(turn + round) % places.length] ?? volume;
        results.set(place, await fio(host, program, place, work));
      }
      const [hand, ours, again] = places.map((place) => results.get(place));
      // The first ones lay the files out.
      if (round === 0 || !hand || !ours || !again) continue;
      ratios.push(ours.rate / hand.rate);
      quick.push(hand.quick / ours.quick);
      rates.push(hand.rate);
      control.push(again.rate / hand.rate);
      const shown = [ours.rate, hand.rate, again.rate].map(Math.round);
      say(`${work}: ${shown[0]} beside ${shown[1]} and ${shown[2]} operations a second`);
    }
    found[work] = {
      ratio: rounded(median(ratios)),
      quartiles: [0.25, 0.75].map((part) => rounded(percentile(ratios, part))),
      quick_ratio: rounded(median(quick)),
      by_hand: rounded(median(rates)),
      control_ratio: rounded(median(control)),
      control_quartiles: [0.25, 0.75].map((part) => rounded(percentile(control, part))),
    };
  }
  await host.dockerMust(['rm', '-f', 'fio']);
  return { found, isSame: device === deviceByHand };
}

/** Requests that the kernel has sent to servers of NFS. */
async function requests(host: VirtualMachine): Promise<number> {
  return Number(/^rpc (\d+)/m.exec(await host.must(['cat', '/proc/net/rpc/nfs']))?.[1]);
}

/** For what goes on when the container has ended: the volume leaves the host. */
const LEAVING_MS = 1_000;

/** `docker run --rm -v`, turn by turn with a volume, with one of Docker's own, and with a folder of the mount by hand. */
async function dockerRun(host: VirtualMachine, here: Host, share: string, options: string, rounds: number) {
  await createMust(host, 'bench-run');
  await host.must(['mkdir', '-p', `${HAND}/run`]);
  const how = { type: 'nfs4', o: options, device: `${share}/run` };
  const flags = Object.entries(how).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
  await host.dockerMust(['volume', 'create', '-d', 'local', ...flags, 'bench-local']);
  const sources = { volume: 'bench-run', local: 'bench-local', hand: `${HAND}/run` };
  const kinds = Object.keys(sources) as (keyof typeof sources)[];
  const times = { volume: [] as number[], local: [] as number[], hand: [] as number[], here: [] as number[] };
  const sent = { volume: [] as number[], local: [] as number[], hand: [] as number[] };
  const run = ['run', '--rm', '--network', 'host', '-v'];
  for (let round = 0; round <= rounds; round += 1) {
    for (const turn of kinds.keys()) {
      const which = kinds[(turn + round) % kinds.length] ?? 'hand';
      const before = await requests(host);
      const started = performance.now();
      await host.dockerMust([...run, `${sources[which]}:/d`, IMAGE, 'true']);
      const ms = performance.now() - started;
      await sleep(LEAVING_MS);
      // The first ones warm up.
      if (round === 0) continue;
      times[which].push(ms);
      sent[which].push((await requests(host)) - before);
    }
    const started = performance.now();
    await here.dockerMust([...run, `${here.stateFolder}:/d`, 'drayage/box:1', 'true']);
    if (round > 0) times.here.push(performance.now() - started);
  }
  const [volume, local, hand] = [median(times.volume), median(times.local), median(times.hand)];
  const slower = hand / median(times.here);
  return {
    hand_ms: rounded(hand),
    volume_ms: rounded(volume),
    local_driver_ms: rounded(local),
    overhead_ms: rounded(volume - hand),
    times_slower: rounded(slower),
    overhead_unemulated_ms: rounded((volume - hand) / slower),
    // Of the same round each, which what else the machine does meets alike.
    overhead_pairs_ms: rounded(median(times.volume.map((ms, round) => ms - (times.hand[round] ?? Number.NaN)))),
    requests: { volume: median(sent.volume), local_driver: median(sent.local), hand: median(sent.hand) },
  };
}

/** Until `docker volume create` has said what is wrong. */
async function failures(host: VirtualMachine, server: NfsServer) {
  await server.share('private', '', ['10.250.0.99']);
  const cases = {
    SHARE_UNRESOLVED: ['share=nfs.nowhere.test:/share'],
    SHARE_UNREACHABLE: ['share=10.250.0.77:/share'],
    SHARE_MISSING: [`share=${server.id('nowhere')}`],
    SHARE_REFUSED: [`share=${server.id('private')}`],
    SHARE_VERSION: ['nfsvers=4.0'],
  };
  const found: Record<string, number> = {};
  for (const [code, options] of Object.entries(cases)) {
    const times: number[] = [];
    for (let round = 0; round < FAILURE_ROUNDS; round += 1) {
      const outcome = await create(host, 'bench-failing', ...options);
      if (!outcome.stderr.includes(code)) throw new Error(`instead of ${code}: ${outcome.stderr.trim()}`);
      times.push(outcome.ms);
    }
    found[code] = rounded(median(times));
  }
  return found;
}

async function measure(rounds: number) {
  const ends: (() => Promise<void>)[] = [];
  try {
    say('starts a host and a server, and an engine of this machine');
    const rig = await Rig.up({ hosts: 1, engine: '28' });
    ends.push(() => rig.down());
    const { vms, server, hosts } = await nfsRigFor(
      { teardown: (end) => ends.push(end) },
      { hosts: 1, versions: '-N 4.0' },
    );
    const [host] = hosts;
    if (!host) throw new Error('there is no host');
    const options = await mountByHand(host, server);
    const program = await plugFio(vms, host);
    const { version } = await statusOf(host, 'first');
    say('docker run');
    const docker = await dockerRun(host, rig.host(1), server.id(SHARE), options, rounds);
    const { found: fio, isSame } = await fioRatios(host, program, rounds);
    say('failures');
    return { version, docker_run: docker, fio, same_file_system: isSame, errors_ms: await failures(host, server) };
  } finally {
    for (const end of ends) await end();
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { rounds: { type: 'string', default: '15' }, json: { type: 'string' } },
  });
  const rounds = count(values.rounds, 'rounds');
  const before = machine();
  const found = await measure(rounds);
  const { docker_run: docker } = found;
  console.log(
    table([
      ['emulated machines', 'ms'],
      ['docker run -v, a folder of a mount by hand', docker.hand_ms.toFixed(0)],
      ['docker run -v, cloudvol', docker.volume_ms.toFixed(0)],
      ["docker run -v, Docker's own volume on the share", docker.local_driver_ms.toFixed(0)],
      ['docker run -v, cloudvol more than by hand', docker.overhead_ms.toFixed(0)],
      [
        `  on a machine that is not ${docker.times_slower.toFixed(1)} times slower`,
        docker.overhead_unemulated_ms.toFixed(0),
      ],
      ...Object.entries(found.errors_ms).map(([code, ms]) => [`until ${code} is told`, ms.toFixed(0)]),
    ]),
  );
  const { volume, local_driver: local, hand } = docker.requests;
  console.log(
    `requests to the server for one docker run -v: cloudvol ${volume}, Docker's own ${local}, by hand ${hand}`,
  );
  console.log(`cloudvol and the mount by hand are ${found.same_file_system ? 'one file system' : 'two file systems'}`);
  for (const [work, ratios] of Object.entries(found.fio)) {
    const { ratio, quartiles, quick_ratio: quick, control_ratio: control, control_quartiles: spread } = ratios;
    console.log(
      `fio, ${work}, volume to hand mount: ${ratio} (half of the rounds between ${quartiles.join(' and ')}),`,
    );
    console.log(`  by the time of one quick operation, which others disturb less: ${quick}`);
    console.log(`  a second folder of the hand mount to the first: ${control} (${spread.join(' and ')})`);
  }
  console.log(`load at the beginning ${before.load}, at the end ${machine().load}`);
  writeJson(values.json, { ...found, rounds, emulated: true, machine: before, load_at_end: machine().load });
}

await main().catch((error: unknown) => {
  console.error(`bench: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
});
