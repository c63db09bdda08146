import { setTimeout as pause } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { detachDisk } from '../../../../volume-plugin/block/attach.ts';
import type { DiskHost, DiskProvider } from '../../../../volume-plugin/block/provider.ts';
import { type EbsWorldConfig, ebsWorld } from './ebs-world.ts';
import { holdDisk } from './hold-disk.ts';
import { codeOf, context } from './scratch.ts';

t.setTimeout(240_000);

interface Player {
  readonly provider: DiskProvider;
  readonly self: DiskHost;
}

/** Two started hosts, and who has a disk in truth. */
const players = async (t: Test, config: EbsWorldConfig = {}) => {
  const { aws, host } = await ebsWorld(t, config);
  const start = async (n: number): Promise<Player> => {
    const provider = host(n);
    t.teardown(() => provider.close());
    return { provider, self: await provider.start(context()) };
  };
  const [a, b] = [await start(0), await start(1)];
  const holder = (id: string) => aws.disks.volumes().find((one) => one.id === id)?.attachment?.instance;
  const create = (volume: string) =>
    a.provider.create({ volume, size: 2 ** 30, tags: { options: '{}' } }, volume, context());
  return { aws, a, b, holder, create };
};

t.test('of two hosts that mount at once one gets the disk, in each of 1,000 rounds', async (t) => {
  const { aws, a, b, holder, create } = await players(t);
  const wrong: string[] = [];
  const wins = new Map<string, number>();
  const play = async (volume: string): Promise<void> => {
    const { id } = await create(volume);
    for (let round = 0; round < 40; round += 1) {
      const answers = await Promise.all([a, b].map(({ provider }) => codeOf(provider.attach(id, context()))));
      const has = holder(id) ?? '';
      const winner = [a, b].find((_, n) => answers[n] === 'none');
      if ([...answers].sort().join() !== 'VOLUME_BUSY,none' || winner?.self.id !== has) {
        wrong.push(`${volume}, round ${round}: ${answers.join()}; ${has} has it`);
      }
      wins.set(has, (wins.get(has) ?? 0) + 1);
      // At times as hosts do it; the hand of the cloud is quicker.
      if (round % 10 === 0) await (has === a.self.id ? a : b).provider.detach(id, has, context());
      else aws.disks.detach(id);
    }
  };
  await Promise.all(Array.from({ length: 25 }, (_, n) => play(`data-${n}`)));
  t.same(wrong, []);
  t.equal((wins.get(a.self.id) ?? 0) + (wins.get(b.self.id) ?? 0), 1_000, [...wins.values()].join(' : '));
});

t.test('nor do two write where states last, what is shown is late, and answers are lost', async (t) => {
  const times = { createMs: 20, attachMs: 15, detachMs: 25 };
  const { aws, a, b, holder, create } = await players(t, { lagMs: 60, times });
  const disks = await Promise.all(Array.from({ length: 8 }, (_, n) => create(`data-${n}`)));
  for (const action of ['AttachVolume', 'DetachVolume']) aws.faults.loseReply(action, { nth: 3, times: 4 });
  const wrong: string[] = [];
  const writers = new Map<string, string>();
  const wins = new Map<string, number>();
  await Promise.all(
    [a, b].flatMap(({ provider, self }) =>
      disks.map(async (disk) => {
        for (let held = 0; held < 2; ) {
          const code = await codeOf(holdDisk(provider, self, disk, context()));
          if (code === 'VOLUME_BUSY') {
            await pause(5 + Math.random() * 20);
            continue;
          }
          const other = writers.get(disk.id);
          if (code !== 'none' || other !== undefined) wrong.push(`${disk.id}: ${code}, and ${other} writes`);
          writers.set(disk.id, self.id);
          await pause(Math.random() * 10);
          if (holder(disk.id) !== self.id) wrong.push(`${holder(disk.id)} has ${disk.id}, and ${self.id} writes`);
          writers.delete(disk.id);
          wins.set(self.id, (wins.get(self.id) ?? 0) + 1);
          held += 1;
          await detachDisk(provider, self, disk.id, context());
        }
      }),
    ),
  );
  t.same(wrong, []);
  t.same([...wins.values()], [16, 16]);
});
