/**
 * A volume of EBS that moves between two hosts of one zone, in the simulated AWS: from Unmount on the one until its data is
 * read on the other, without Docker. Its disk is a loop device of this machine.
 *
 *     unshare --mount --propagation slave node move-ebs.ts MOVES          prints {"total_ms", "cloud_ms", "ours_ms"}
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { newContext } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { silentLogger } from '../../shared/log.ts';
import type { Volume } from '../../volume-plugin/backends/backend.ts';
import { BlockBackend } from '../../volume-plugin/backends/block.ts';
import { ebsWorld } from '../unit/volume-plugin/block/ebs-world.ts';
import { FileMedia } from '../unit/volume-plugin/block/file-media.ts';
import { median, rounded } from './statistics.ts';

/** About what EC2 takes. */
const TIMES = { createMs: 500, attachMs: 2_000, detachMs: 2_000 };
/** How often it is looked whether the cloud is at work. */
const LOOK_MS = 2;

const context = () => newContext(silentLogger, 60_000);

/** Adds up the time in which `isAtWork`, until it is asked for. */
function stopwatch(isAtWork: () => boolean): () => number {
  let [sum, last, was] = [0, performance.now(), false];
  const timer = setInterval(() => {
    const now = performance.now();
    if (was) sum += now - last;
    [last, was] = [now, isAtWork()];
  }, LOOK_MS);
  return () => {
    clearInterval(timer);
    return sum;
  };
}

async function measure(moves: number, folder: string, ends: (() => unknown)[]) {
  const media = new FileMedia(folder);
  const { aws, hosts, host } = await ebsWorld(
    { teardown: (end) => void ends.unshift(end as () => unknown) },
    { media, times: TIMES, pace: 'usual' },
  );
  const open = async (n: number) => {
    const backend = new BlockBackend(host(n, {}, media.devices(hosts[n] ?? '')));
    ends.unshift(() => backend.close());
    await backend.start(context());
    const target = join(folder, `mounts-${n}`);
    mkdirSync(target);
    const file = join(target, 'data', 'round');
    return {
      ...{ backend, file },
      mount: (volume: Volume) => backend.mount(volume, target, context()),
      unmount: (volume: Volume) => backend.unmount(volume, target, context()),
    };
  };
  let [from, to] = [await open(0), await open(1)];
  const volume = await from.backend.create({ name: 'bench', options: { size: '1g' } }, context());
  await from.mount(volume);
  const [totals, clouds]: [number[], number[]] = [[], []];
  for (let move = 0; move <= moves; move += 1) {
    writeFileSync(from.file, `move ${move}`);
    const cloud = stopwatch(() => /ing$|^busy$/.test(aws.disks.volumes()[0]?.attachment?.state ?? ''));
    const begun = performance.now();
    await from.unmount(volume);
    const leaving = from.backend.leave(volume, context());
    // As whoever asks a moment too early asks again.
    while ((await to.mount(volume).catch(refused)) === undefined) await pause(50);
    const read = readFileSync(to.file, 'utf8');
    const total = performance.now() - begun;
    if (read !== `move ${move}`) throw new Error(`the other host read "${read}"`);
    const own = cloud();
    await leaving;
    // The first one warms up.
    if (move > 0) {
      totals.push(total);
      clouds.push(own);
    }
    [from, to] = [to, from];
  }
  await from.unmount(volume);
  await from.backend.leave(volume, context());
  const ours = totals.map((total, n) => total - (clouds[n] ?? 0));
  return { total_ms: rounded(median(totals)), cloud_ms: rounded(median(clouds)), ours_ms: rounded(median(ours)) };
}

function refused(error: unknown): undefined {
  if (!(error instanceof PluginError && error.code === 'VOLUME_BUSY')) throw error;
}

const folder = mkdtempSync(join(tmpdir(), 'drayage-bench-'));
const ends: (() => unknown)[] = [() => rmSync(folder, { recursive: true, force: true })];
try {
  console.log(JSON.stringify(await measure(Number(process.argv[2] ?? 5), folder, ends)));
} finally {
  for (const end of ends) await end();
}
