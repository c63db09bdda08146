import { randomUUID } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { mountAt, readMountTable } from '../../../../shared/kernel/mount-table.ts';
import { BlockBackend } from '../../../../volume-plugin/backends/block.ts';
import { ensureFilesystem } from '../../../../volume-plugin/block/format.ts';
import { refuseWhenLost, verifyCopy, whyLost } from '../../../../volume-plugin/block/holding.ts';
import { LoopProvider } from '../../../../volume-plugin/block/loop.ts';
import type { Disk, DiskProvider } from '../../../../volume-plugin/block/provider.ts';
import { codeOf, context, inOwnMounts, loopDisk, MIB, messageOf, run, scratch } from './scratch.ts';

inOwnMounts(import.meta.filename);
t.setTimeout(60_000);

const disk = (tags: Disk['tags'] = {}, more: Partial<Disk> = {}): Disk => ({
  ...{ id: 'disk-1', volume: 'data', size: 64 * MIB, state: 'attached', serial: 'disk-1', tags, created: '' },
  ...more,
});

t.test('a host that is full while a disk is formatted says so; with room the same call succeeds', async (t) => {
  const folder = scratch(t);
  const small = join(folder, 'small');
  mkdirSync(small);
  run('mount', '-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', small);
  const { device } = loopDisk(small, 64 * MIB);
  const tags: Record<string, string> = {};
  const uuid = randomUUID();
  const tag = async (news: Readonly<Record<string, string>>): Promise<void> => void Object.assign(tags, news);
  const make = () =>
    ensureFilesystem({ disk: disk(tags), device, wanted: 'ext4', uuid, tag, hasFiles: async () => false }, context());
  t.match(await messageOf(make()), /^EXEC_FAILED: .*mkfs\.ext4/);
  t.same(tags, { formatting: uuid }, 'begun, and not finished');
  run('mount', '-o', 'remount,size=32m', small);
  t.equal(await make(), 'ext4');
  t.same(tags, { formatting: uuid, formatted: 'ext4' });
});

t.test(
  'a disk that goes while it is mounted: writers are told, it can be let go, and is not mounted again',
  async (t) => {
    const folder = scratch(t);
    const self = { id: 'host-id-0', name: 'host-0' };
    const backend = new BlockBackend(new LoopProvider({ folder: join(folder, 'disks'), self, quota: undefined }));
    await backend.start(context());
    const target = (name: string): string => join(folder, name);
    const make = async (name: string) => {
      const volume = await backend.create({ name, options: { size: '16m' } }, context());
      mkdirSync(target(name));
      const { source } = await backend.mount(volume, target(name), context());
      return { volume, source, inside: (file: string) => join(target(name), 'data', file) };
    };
    const [gone, other] = [await make('gone'), await make('other')];
    const image = join(folder, 'disks', `${gone.volume.handle['disk']}.img`);
    // What a disk is that was pulled out: not a byte of it can be reached.
    truncateSync(image, 0);
    run('losetup', '--set-capacity', gone.source);
    const write = (): void => {
      const file = openSync(gone.inside('row'), 'a');
      try {
        writeSync(file, Buffer.alloc(MIB, 1));
        fsyncSync(file);
      } finally {
        closeSync(file);
      }
    };
    t.throws(write, { code: /EIO|EROFS/ });
    writeFileSync(other.inside('row'), 'goes on', { flush: true });
    t.match(backend.status(gone.volume), { provider: 'loop', disk: gone.volume.handle['disk'] });
    await backend.unmount(gone.volume, target('gone'), context());
    await backend.leave(gone.volume, context());
    t.notOk(existsSync(gone.inside('row')));
    t.equal(await codeOf(backend.mount(gone.volume, target('gone'), context(2_000))), 'STILL_WORKING');
    t.equal(mountAt(readMountTable(), target('gone')), undefined);
    await backend.leave(gone.volume, context());
    t.equal(readFileSync(other.inside('row'), 'utf8'), 'goes on');
    await backend.unmount(other.volume, target('other'), context());
    await backend.leave(other.volume, context());
  },
);

t.test('a host that has lost its state gets the volumes that it had by fence, with their data', async (t) => {
  const folder = scratch(t);
  const target = join(folder, 'mount');
  mkdirSync(target);
  const host = async (id: string) => {
    const self = { id, name: 'host-0' };
    const backend = new BlockBackend(new LoopProvider({ folder: join(folder, 'disks'), self, quota: undefined }));
    await backend.start(context());
    return backend;
  };
  const before = await host('id-before');
  const volume = await before.create({ name: 'data', options: { size: '16m' } }, context());
  await before.mount(volume, target, context());
  writeFileSync(join(target, 'data', 'row'), 'kept', { flush: true });
  const after = await host('id-after');
  t.match(
    await messageOf(after.mount(volume, target, context())),
    /^VOLUME_BUSY: Volume data is in use on host host-0, and whether that host still runs is not known/,
  );
  await after.fence(volume, 'host-0', context());
  await after.mount(volume, target, context());
  t.equal(readFileSync(join(target, 'data', 'row'), 'utf8'), 'kept');
  t.equal(readMountTable().filter((entry) => entry.target === target).length, 1, 'mounted once');
  await after.unmount(volume, target, context());
  await after.leave(volume, context());
  t.match(await after.find('data', context()), { whereabouts: 'available' });
});

t.test('a copy that is not its volume’s file system does not become the volume', async (t) => {
  const { device } = loopDisk(scratch(t));
  const uuid = randomUUID();
  run('mkfs.ext4', '-q', '-U', uuid, device);
  const copy = (formatting: string, more: Disk['tags'] = {}): Disk =>
    disk({ moving: 'disk-0', formatted: 'ext4', formatting, ...more }, { fromSnapshot: 'snap-1' });
  t.equal(await codeOf(verifyCopy(copy(uuid), device, context())), 'none');
  const other = randomUUID();
  t.match(
    await messageOf(verifyCopy(copy(other), device, context())),
    `DISK_FAILED: Disk disk-1 of volume data is moving: its file system is ${uuid}, not ${other} as on disk-0`,
  );
  t.equal(
    await codeOf(verifyCopy(copy(other, { imported: 'yes' }), device, context())),
    'none',
    'of others’ it is not known',
  );
  const { moving: _, ...verified } = copy(other).tags;
  t.equal(await codeOf(verifyCopy(disk(verified), device, context())), 'none', 'once verified, it is its users’ own');
});

const ME = { id: 'me', name: 'host-1' };
const THEM = { id: 'them', name: 'host-2' };

t.test('what says that a mounted disk is another’s by now', (t) => {
  const mine = disk({ epoch: '1' }, { holder: ME });
  const why = (found: Disk, siblings: readonly Disk[] = []) => whyLost(ME, { epoch: 1 }, found, [found, ...siblings]);
  t.equal(why(mine), undefined);
  t.equal(why({ ...mine, state: 'detaching' }), undefined);
  t.match(why({ ...mine, holder: THEM }), 'host host-2 has it');
  t.match(why({ ...mine, tags: { epoch: '2' } }), /an operator has taken it/);
  t.match(why({ ...mine, tags: { epoch: '1', retired: '2026-11-22' } }), /moved to another zone/);
  t.match(why(mine, [disk({ generation: '2' }, { id: 'disk-2' })]), /moved to another zone, as disk disk-2/);
  t.equal(why(mine, [disk({ generation: '2', moving: 'disk-1' })]), undefined, 'what is not verified says nothing');
  const { holder: _, ...free } = mine;
  t.match(why({ ...free, state: 'available' }), /attached to no host/);
  t.end();
});

t.test('a host that is fenced while it mounts does not hand the volume out', async (t) => {
  const mine = disk({ epoch: '1' }, { holder: ME });
  const look = (found: Disk | undefined) =>
    codeOf(refuseWhenLost({ describe: async () => found } as unknown as DiskProvider, ME, mine, context()));
  t.equal(await look(mine), 'none');
  t.equal(await look({ ...mine, tags: { epoch: '2' } }), 'VOLUME_LOST');
  t.equal(await look({ ...mine, holder: THEM }), 'VOLUME_LOST');
  const { holder: _, ...free } = mine;
  t.equal(await look({ ...free, state: 'available' }), 'none', 'an answer from before it was attached');
  t.equal(await look({ ...free, state: 'available', tags: { epoch: '2' } }), 'VOLUME_LOST');
});
