import { randomUUID } from 'node:crypto';
import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { deviceSize } from '../../../../shared/kernel/block-device.ts';
import { LoopProvider } from '../../../../volume-plugin/block/loop.ts';
import { descriptionOfId, LoopFiles } from '../../../../volume-plugin/block/loop-files.ts';
import { diskProviderConformance } from '../../../conformance/disk-provider.ts';
import { codeOf, context, inOwnMounts, loopDisk, MIB, messageOf, run, scratch } from './scratch.ts';

inOwnMounts(import.meta.filename);
t.setTimeout(120_000);

const self = (n: number) => ({ id: `host-id-${n}`, name: `host-${n}` });
const provider = (folder: string, n = 0, quota?: number): LoopProvider =>
  new LoopProvider({ folder, self: self(n), quota });

/** A started provider of host `n` on a folder. */
const started = async (folder: string, n = 0, quota?: number): Promise<LoopProvider> => {
  const made = provider(folder, n, quota);
  await made.start(context());
  return made;
};

const ask = (one: LoopProvider, volume: string, size = 16 * MIB, tags = {}) =>
  one.create({ volume, size, tags }, `token-${volume}`, context());

const describe = (one: LoopProvider, id: string) => one.describe(id, context());
/** The file that describes a disk. */
const descriptionOf = (id: string): string => descriptionOfId('loop', id) ?? '';
const leftovers = (folder: string): string[] => readdirSync(folder).filter((name) => name.startsWith('.'));

t.test('disks in files are disks', (t) =>
  diskProviderConformance(t, async (t) => {
    const folder = join(scratch(t), 'disks');
    return { host: (n) => provider(folder, n), size: 16 * MIB, growth: 8 * MIB, devices: true, rounds: 60, lateMs: 0 };
  }),
);

t.test('of two hosts at once one gets the note, in each of 1,000 rounds', async (t) => {
  const folder = scratch(t, '/dev/shm');
  const hosts = [new LoopFiles(folder), new LoopFiles(folder)];
  const wrong: string[] = [];
  for (let round = 0; round < 1_000; round += 1) {
    const answers = await Promise.all(
      hosts.map(async (files, n) => {
        const mine = self(100 * (round + 1) + n);
        return { mine, got: await files.hold('disk', mine) };
      }),
    );
    const winners = answers.filter(({ mine, got }) => mine.id === got.id);
    const noted = (await hosts[0]?.holder('disk'))?.id;
    if (winners.length !== 1 || winners[0]?.mine.id !== noted)
      wrong.push(`${round}: ${JSON.stringify(answers)} ${noted}`);
    const holder = noted ?? '';
    // A note that vanishes between two looks is nobody's.
    if (round % 2 === 0) await hosts[0]?.letGo('disk', holder);
    else {
      const [, other] = await Promise.all([hosts[0]?.letGo('disk', holder), hosts[1]?.hold('disk', self(1))]);
      const after = await hosts[0]?.holder('disk');
      if (other?.id === self(1).id ? after?.id !== self(1).id : after !== undefined) wrong.push(`${round}: lost`);
      await hosts[1]?.letGo('disk', self(1).id);
    }
  }
  t.same(wrong, []);
  t.same(leftovers(folder), []);
});

t.test('hosts that make a volume at once get one disk, whatever each has asked for', async (t) => {
  const folder = scratch(t);
  const hosts = await Promise.all([0, 1, 2].map((n) => started(folder, n)));
  const made = await Promise.all(hosts.map((host, n) => ask(host, 'data', (16 + n) * MIB, { uuid: `${n}` })));
  t.equal(new Set(made.map(({ id, size, tags }) => `${id} ${size} ${tags['uuid']}`)).size, 1);
  t.equal(readdirSync(folder).filter((name) => name.endsWith('.img')).length, 1);
});

t.test('more than the quota is never promised, by one host or by several at once', async (t) => {
  const folder = scratch(t);
  const hosts = await Promise.all([0, 1, 2].map((n) => started(folder, n, 100 * MIB)));
  const [host = provider(folder)] = hosts;
  await ask(host, 'first', 60 * MIB);
  t.equal(
    await messageOf(ask(host, 'second', 41 * MIB)),
    `DISK_QUOTA: There is no room for a disk of ${41 * MIB} bytes for volume second: ${40 * MIB} bytes are left of LOOP_QUOTA.`,
  );
  t.same(
    (await host.list(context())).map(({ volume }) => volume),
    ['first'],
    'a refusal leaves nothing',
  );
  t.equal((await ask(host, 'first', 60 * MIB)).volume, 'first', 'what is there is not counted twice');
  const answers = await Promise.all(hosts.map((one, n) => codeOf(ask(one, `more-${n}`, 30 * MIB))));
  t.ok(answers.filter((answer) => answer === 'none').length <= 1);
  t.same(
    [...new Set(answers)].filter((answer) => answer !== 'none' && answer !== 'DISK_QUOTA'),
    [],
  );
  const total = (await host.list(context())).reduce((sum, { size }) => sum + size, 0);
  t.ok(total <= 100 * MIB, `${total / MIB} MiB`);
});

t.test('images are not promised more room than the file system has, though they take none yet', async (t) => {
  const outer = scratch(t);
  const folder = join(outer, 'small');
  run('mkdir', folder);
  run('mount', '-t', 'tmpfs', '-o', 'size=64m', 'tmpfs', folder);
  const host = await started(folder);
  await ask(host, 'first', 40 * MIB);
  t.ok(statfsSync(folder).bavail * statfsSync(folder).bsize > 60 * MIB);
  t.match(await messageOf(ask(host, 'second', 30 * MIB)), /^DISK_QUOTA: .* bytes are free in \//);
  await ask(host, 'third', 16 * MIB);
});

t.test('a creation that a crash cut off is finished by the same call, or refused and gone', async (t) => {
  const folder = scratch(t);
  const host = await started(folder);
  const { id } = await ask(host, 'data', 32 * MIB);
  rmSync(join(folder, `${id}.img`));
  t.equal((await describe(host, id))?.state, 'creating');
  const again = await ask(await started(folder), 'data', 32 * MIB);
  t.match(again, { id, state: 'available', size: 32 * MIB });
  rmSync(join(folder, `${id}.img`));
  t.equal(await codeOf(ask(await started(folder, 0, 16 * MIB), 'data', 32 * MIB)), 'DISK_QUOTA');
  t.equal(await describe(host, id), undefined);
});

t.test('a disk that is being copied is attached when that is done; its snapshot shows at once', async (t) => {
  const folder = scratch(t);
  const [host, other] = [await started(folder), await started(folder, 1)];
  const { id } = await ask(host, 'data', 32 * MIB);
  const image = openSync(join(folder, `${id}.img`), 'r+');
  writeSync(image, Buffer.alloc(24 * MIB, 1));
  closeSync(image);
  const taken = await host.snapshot(id, {}, 'token', context());
  t.equal(taken.state, 'pending');
  t.equal(await codeOf(other.attach(id, context())), 'VOLUME_BUSY');
  t.match(await describe(other, id), { state: 'available', holder: undefined }, 'it is nobody’s');
  await host.attach(id, context());
  t.equal((await host.describeSnapshot(taken.id, context()))?.state, 'ready');
  t.equal((await describe(host, id))?.holder?.id, self(0).id);
  await host.detach(id, self(0).id, context());
  await other.attach(id, context());
  t.equal(await codeOf(host.snapshot(id, {}, 'second', context())), 'VOLUME_BUSY', 'it changes under its hands');
  await other.detach(id, self(1).id, context());
});

t.test('copies that a crash or an end cut off show as such, and are made by the same call', async (t) => {
  const folder = scratch(t);
  const host = await started(folder);
  const { id } = await ask(host, 'data', 32 * MIB);
  const first = await host.snapshot(id, {}, 'token', context());
  await host.close();
  rmSync(join(folder, `${first.id}.img`), { force: true });
  writeFileSync(join(folder, `${id}.holder`), JSON.stringify({ ...self(0), meanwhile: 'snapshot' }));
  const again = await started(folder);
  t.equal((await again.describeSnapshot(first.id, context()))?.state, 'failed');
  t.equal(await codeOf(again.create(copyOf(first.id), 'copy', context())), 'BACKEND_REFUSED');
  t.equal((await again.snapshot(id, {}, 'token', context())).id, first.id);
  await again.attach(id, context());
  await again.detach(id, self(0).id, context());
  const made = await again.create(copyOf(first.id), 'copy', context());
  await again.close();
  rmSync(join(folder, `${made.id}.img`), { force: true });
  const third = await started(folder);
  t.equal((await describe(third, made.id))?.state, 'creating');
  t.equal((await third.create(copyOf(first.id), 'copy', context())).id, made.id);
  await third.attach(made.id, context());
  t.match(await describe(third, made.id), { state: 'attached', fromSnapshot: first.id });
  await third.detach(made.id, self(0).id, context());
});

const copyOf = (snapshot: string) => ({ volume: 'copy', size: 32 * MIB, snapshot, tags: {} });

t.test('a device that was left over is not what a disk is attached as', async (t) => {
  const folder = join(scratch(t), 'disks');
  const one = await started(folder);
  const { id } = await ask(one, 'data');
  const image = join(folder, `${id}.img`);
  // From before the disk has grown, on another host.
  run('losetup', '--find', '--sizelimit', String(8 * MIB), image);
  await one.attach(id, context());
  const disk = await describe(one, id);
  const device = disk && (await one.device(disk, context()));
  t.equal(deviceSize(device ?? ''), 16 * MIB);
  await one.detach(id, self(0).id, context());
});

t.test('a disk whose image was lost has failed, and no empty one takes its place', async (t) => {
  const folder = scratch(t);
  const host = await started(folder);
  const { id } = await ask(host, 'data');
  await host.tag(id, { formatted: 'ext4' }, context());
  rmSync(join(folder, `${id}.img`));
  t.equal((await ask(host, 'data')).state, 'failed');
  t.notOk(existsSync(join(folder, `${id}.img`)));
});

t.test('after a restart of the machine the note is there, and its device is made again', async (t) => {
  const folder = scratch(t);
  const host = await started(folder);
  const { id } = await ask(host, 'data');
  await host.attach(id, context());
  const disk = await describe(host, id);
  if (disk === undefined) throw new Error('no disk');
  const device = (await host.device(disk, context())) ?? '';
  run('losetup', '--detach', device);
  const again = await started(folder);
  const other = (await again.device(disk, context())) ?? '';
  t.match(run('losetup', '--noheadings', '--output', 'BACK-FILE', other), `${id}.img`);
  await again.detach(id, self(0).id, context());
  t.equal(run('losetup', '--associated', join(folder, `${id}.img`)), '', 'no device stays');
});

t.test('a disk that is mounted somewhere is not given up', async (t) => {
  const folder = scratch(t);
  const host = await started(folder);
  const { id } = await ask(host, 'data');
  await host.attach(id, context());
  const disk = await describe(host, id);
  if (disk === undefined) throw new Error('no disk');
  const device = (await host.device(disk, context())) ?? '';
  run('mkfs.ext4', '-q', '-F', device);
  run('mkdir', join(folder, 'mnt'));
  run('mount', device, join(folder, 'mnt'));
  t.match(
    await messageOf(host.detach(id, self(0).id, context())),
    /^VOLUME_IN_USE: Volume data .* by a mount of \/dev\/loop/,
  );
  t.equal((await describe(host, id))?.holder?.id, self(0).id);
  run('umount', join(folder, 'mnt'));
  await host.detach(id, self(0).id, context());
  t.equal((await describe(host, id))?.state, 'available');
});

t.test(
  'a disk whose device somebody has open for a moment is given up then, and not while it stays open',
  async (t) => {
    const folder = scratch(t);
    const host = await started(folder);
    const { id } = await ask(host, 'data');
    const open = async () => {
      await host.attach(id, context());
      const device = run(
        'losetup',
        '--noheadings',
        '--output',
        'NAME',
        '--associated',
        join(folder, `${id}.img`),
      ).trim();
      return openSync(device, 'r');
    };
    const short = await open();
    setTimeout(() => closeSync(short), 200);
    await host.detach(id, self(0).id, context());
    t.equal((await describe(host, id))?.state, 'available');
    const long = await open();
    t.match(
      await messageOf(host.detach(id, self(0).id, context())),
      /^VOLUME_IN_USE: .* by a process that has \/dev\/loop/,
    );
    t.equal((await describe(host, id))?.holder?.id, self(0).id);
    closeSync(long);
    await host.detach(id, self(0).id, context());
    t.equal((await describe(host, id))?.state, 'available');
  },
);

t.test('what crashes have left in the folder goes at a start; what others are writing stays', async (t) => {
  const folder = scratch(t);
  const host = await started(folder);
  const { id } = await ask(host, 'data');
  const gone = 'loop-0123456789ababcdef-gone';
  const [old, fresh] = [join(folder, `.${randomUUID()}`), join(folder, `.${randomUUID()}`)];
  for (const file of [old, fresh, join(folder, 'foreign.img'), join(folder, `${gone}.img`)]) writeFileSync(file, '');
  writeFileSync(join(folder, `${gone}.holder`), JSON.stringify(self(0)));
  writeFileSync(join(folder, 'loop-0123456789ababcdef-other.holder'), JSON.stringify(self(1)));
  // Its description was lost, or is put back from a copy only now.
  const orphan = 'loop-0123456789ababcdef-orphan.img';
  writeFileSync(join(folder, orphan), 'data', { flush: true });
  for (const file of [old, join(folder, `${gone}.img`), join(folder, `${id}.img`), join(folder, orphan)]) {
    utimesSync(file, 1, 1);
  }
  await started(folder);
  t.same(
    readdirSync(folder).sort(),
    [
      fresh.split('/').at(-1),
      descriptionOf(id),
      'foreign.img',
      `${id}.img`,
      'loop-0123456789ababcdef-other.holder',
      orphan,
    ].sort(),
  );
});

t.test('a spoilt description is named, and nothing is taken for gone because of it', async (t) => {
  const folder = scratch(t);
  const host = await started(folder);
  const { id } = await ask(host, 'data');
  for (const text of ['', '{"id":', '[]', 'null']) {
    writeFileSync(join(folder, descriptionOf(id)), text);
    t.match(await messageOf(host.list(context())), /^BACKEND_REFUSED: .*data\.json is spoilt/, JSON.stringify(text));
  }
});

t.test('volumes whose names look like files of others keep apart', async (t) => {
  const folder = scratch(t);
  const host = await started(folder);
  const names = [
    'data',
    'data.json',
    'data.holder',
    'data.img',
    'a'.repeat(128),
    'X-_.9',
    'loop-0123456789ab-data.json',
  ];
  const made = new Map<string, string>();
  for (const name of names) made.set(name, (await ask(host, name)).id);
  t.same((await host.list(context())).map(({ volume }) => volume).sort(), [...names].sort());
  await host.attach(made.get('data') ?? '', context());
  for (const name of names.slice(1)) t.equal((await describe(host, made.get(name) ?? ''))?.state, 'available', name);
  await host.detach(made.get('data') ?? '', self(0).id, context());
});

t.test('a disk that is attached while another host removes it is nobody’s, or stays', async (t) => {
  const folder = scratch(t);
  const [a, b] = [await started(folder, 0), await started(folder, 1)];
  for (let round = 0; round < 20; round += 1) {
    const { id } = await ask(a, 'data');
    const [attached, removed] = await Promise.all([codeOf(a.attach(id, context())), codeOf(b.remove(id, context()))]);
    const left = await describe(b, id);
    if (removed === 'none') {
      t.equal(left, undefined);
      t.match(attached, /^(DISK_MISSING|VOLUME_BUSY)$/);
      t.equal(run('losetup', '--associated', join(folder, `${id}.img`)), '');
    } else {
      t.equal(removed, 'VOLUME_BUSY');
      t.equal(attached, 'none');
      await a.detach(id, self(0).id, context());
      await a.remove(id, context());
    }
  }
  t.same(readdirSync(folder), []);
});

t.test('what a killed test has left is swept: mounts, devices, folders', async (t) => {
  const base = scratch(t);
  const dead = join(base, 'drt4194303-1-x');
  run('mkdir', '-p', join(dead, 'mnt'));
  const { device, file } = loopDisk(dead);
  run('mkfs.ext4', '-q', '-F', device);
  run('mount', device, join(dead, 'mnt'));
  const mine = join(base, `drt${process.pid}-${readFileSync('/proc/self/stat', 'utf8').split(' ')[21]}-x`);
  renameSync(run('mktemp', '-d', '-p', base).trim(), mine);
  truncateSync(file, 64 * MIB);
  const inner = scratch(t, base);
  t.notOk(existsSync(dead));
  t.ok(existsSync(mine) && existsSync(inner));
  t.notMatch(run('losetup', '--list'), device === '' ? 'none' : `${dead}/`);
});
