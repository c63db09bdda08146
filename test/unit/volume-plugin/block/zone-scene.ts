import type { Test } from 'tap';
import { newContext } from '../../../../shared/context.ts';
import { PluginError } from '../../../../shared/errors.ts';
import { silentLogger } from '../../../../shared/log.ts';
import { detachDisk } from '../../../../volume-plugin/block/attach.ts';
import { generationOf } from '../../../../volume-plugin/block/generations.ts';
import type { DiskProvider } from '../../../../volume-plugin/block/provider.ts';
import { ZoneMove } from '../../../../volume-plugin/block/zone-move.ts';
import { randomOf } from '../../../suites/random.ts';
import { holdDisk } from './hold-disk.ts';
import { VirtualTime } from './virtual-time.ts';
import { firstDisk, type Machine, ZoneWorld } from './zone-world.ts';

const CALM = { lagMs: 0, fails: 0, spoils: 0 };
export const SETTLE_MS = 8_200;
export const context = (ms = 300_000) => newContext(silentLogger, ms);

/** A world in virtual time, with a volume in zone a that has data, and hosts in zones. */
export const world = async (
  t: Test,
  { tags = {}, zones = ['a', 'b', 'c'] }: { tags?: object; zones?: string[] } = {},
) => {
  const time = new VirtualTime();
  time.install(randomOf(7));
  t.teardown(() => time.restore());
  const sky = new ZoneWorld(1, CALM, () => time.now);
  const machines = zones.map((zone, n) => sky.machine(n, zone));
  const [first] = machines;
  if (first === undefined) throw new Error('no hosts');
  /** Lets time pass until the work has ended. Its error is answered as its sentence. */
  const wait = async <T>(work: Promise<T>): Promise<T | string> => {
    let end: T | string | undefined;
    let ended = false;
    work.then(
      (result) => {
        [end, ended] = [result, true];
      },
      (error: unknown) => {
        [end, ended] = [error instanceof PluginError ? error.message : String(error), true];
      },
    );
    if (!(await time.run(() => ended))) throw new Error('nothing is left to happen, and it has not ended');
    return end as T | string;
  };
  const request = firstDisk('a');
  const made = await wait(
    sky.provider(first).create({ ...request, tags: { ...request.tags, ...tags } }, 'first', context()),
  );
  if (typeof made === 'string') throw new Error(made);
  await time.run(() => sky.disks.every(({ state }) => state === 'available'));
  /** A process on a machine. */
  const process = (machine: Machine, watch?: (provider: DiskProvider) => DiskProvider) => {
    const provider = watch?.(sky.provider(machine)) ?? sky.provider(machine);
    const move = new ZoneMove({ provider, self: machine.self, traits: () => ({}), settleMs: SETTLE_MS });
    return {
      provider,
      move,
      bring: () => move.bring('data', undefined, context()),
      /** Everything up to the mount. */
      use: async () => {
        const brought = await move.bring('data', undefined, context());
        const disk = await holdDisk(provider, machine.self, brought.disk, context());
        try {
          move.checkAttached(disk);
        } catch (error) {
          await detachDisk(provider, machine.self, disk.id, context());
          throw error;
        }
        return await move.finish({ ...brought, disk }, context());
      },
    };
  };
  const [a, b, c] = machines as [Machine, Machine, Machine];
  const generation = (n: number) => sky.disks.find((disk) => generationOf(disk) === n);
  const write = async (machine: Machine, id: string, data: number): Promise<void> => {
    const { provider } = process(machine);
    const disk = sky.disks.find((one) => one.id === id);
    if (disk === undefined) throw new Error('no such disk');
    await wait(holdDisk(provider, machine.self, disk, context()));
    t.ok(sky.write(machine, id, data));
    await wait(provider.detach(id, machine.self.id, context()));
    await time.run(() => sky.disks.some((one) => one.id === id && one.state === 'available'));
  };
  await write(a, made.id, 42);
  return { time, sky, a, b, c, wait, process, generation, write, first: made.id };
};
