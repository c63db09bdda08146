import { setTimeout as pause } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { newContext } from '../../../../shared/context.ts';
import { PluginError } from '../../../../shared/errors.ts';
import { silentLogger } from '../../../../shared/log.ts';
import { detachDisk } from '../../../../volume-plugin/block/attach.ts';
import type { Disk, DiskHost, DiskProvider } from '../../../../volume-plugin/block/provider.ts';
import type { AliyunConfig } from '../../../sim/aliyun/sim.ts';
import { diskSite, GIB } from './aliyun-disk-world.ts';
import { holdDisk } from './hold-disk.ts';

t.setTimeout(180_000);

const context = (ms = 60_000) => newContext(silentLogger, ms);

const isBusy = (error: unknown): boolean => error instanceof PluginError && error.code === 'VOLUME_BUSY';

/** Two hosts are after each of some disks, until each disk was held so often. */
const race = async (
  t: Test,
  {
    disks,
    rounds,
    lost = false,
    config = {},
  }: { readonly disks: number; readonly rounds: number; readonly lost?: boolean; readonly config?: AliyunConfig },
) => {
  const { host, sim } = await diskSite(t, 'aa', config);
  const hosts: { readonly provider: DiskProvider; readonly self: DiskHost; readonly held: number[] }[] = [];
  for (const n of [0, 1]) {
    const provider = host(n);
    hosts.push({ provider, self: await provider.start(context()), held: Array.from({ length: disks }, () => 0) });
  }
  const [first] = hosts;
  if (first === undefined) throw new Error('no host');
  const made: Disk[] = [];
  for (let n = 0; n < disks; n += 1) {
    const request = { volume: `data-${n}`, size: 20 * GIB, tags: {} };
    made.push(await first.provider.create(request, `token-${n}`, context()));
  }
  if (lost) for (const action of ['AttachDisk', 'DetachDisk']) sim.faults.loseReply(action, { nth: 3, times: 6 });
  const wrong: string[] = [];
  const writers = new Map<string, string>();
  const after = async ({ provider, self, held }: (typeof hosts)[number], n: number, disk: Disk): Promise<void> => {
    const total = (): number => hosts.reduce((sum, one) => sum + (one.held[n] ?? 0), 0);
    while (total() < rounds && wrong.length === 0) {
      try {
        await holdDisk(provider, self, disk, context());
      } catch (error) {
        if (!isBusy(error)) throw error;
        await pause(2 + Math.random() * 8);
        continue;
      }
      const other = writers.get(disk.id);
      if (other !== undefined) wrong.push(`${disk.id} is written to by ${other} and ${self.id}`);
      writers.set(disk.id, self.id);
      held[n] = (held[n] ?? 0) + 1;
      // As long as one writes the cloud says so, whoever asks.
      await pause(Math.random() * 3);
      const shown = sim.disks().find(({ id }) => id === disk.id);
      if (shown?.status !== 'In_use' || shown.instance !== self.id) wrong.push(`${disk.id} is ${shown?.status}`);
      writers.delete(disk.id);
      await detachDisk(provider, self, disk.id, context());
    }
  };
  await Promise.all(hosts.flatMap((one) => made.map((disk, n) => after(one, n, disk))));
  return { wrong, wins: hosts.map(({ held }) => held.reduce((sum, one) => sum + one, 0)) };
};

t.test('of two hosts that are after one disk never two write, in 1,000 rounds', async (t) => {
  const { wrong, wins } = await race(t, { disks: 10, rounds: 100 });
  t.same(wrong, []);
  const [one = 0, two = 0] = wins;
  t.ok(one + two >= 1_000, wins.join(' : '));
});

t.test('nor where states last, what is shown is late, and answers are lost', async (t) => {
  const times = { createMs: 20, attachMs: 15, detachMs: 25 };
  const { wrong, wins } = await race(t, { disks: 10, rounds: 4, lost: true, config: { lagMs: 60, times } });
  t.same(wrong, []);
  t.ok(
    wins.every((count) => count > 0),
    wins.join(' : '),
  );
});
