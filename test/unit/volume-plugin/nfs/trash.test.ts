import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type Context, newContext } from '../../../../shared/context.ts';
import { silentLogger } from '../../../../shared/log.ts';
import { createRecord, OWN_FOLDER, recordText, VOLUMES } from '../../../../volume-plugin/nfs/records.ts';
import { Trash } from '../../../../volume-plugin/nfs/trash.ts';
import { context, scratch } from '../block/scratch.ts';
import { LocalServers, localFiles } from './local-shares.ts';

const SHARE = 'nas:/x';

const scene = (t: Test) => {
  const servers = new LocalServers(scratch(t));
  const root = join(servers.root(SHARE), '.drayage');
  const files = localFiles(servers, SHARE);
  const clock = { now: 0 };
  const life: Context = newContext(silentLogger, Number.POSITIVE_INFINITY);
  const host = (id: string) => {
    const trash = new Trash(id, () => clock.now);
    return async () => {
      trash.empty(SHARE, files, life);
      await trash.settled();
    };
  };
  const put = (path: string) => {
    mkdirSync(join(root, path, 'deep'), { recursive: true });
    writeFileSync(join(root, path, 'deep/file'), 'x');
  };
  const left = (folder: string) => (existsSync(join(root, folder)) ? readdirSync(join(root, folder)) : []);
  return { servers, files, clock, host, put, left };
};

t.test(
  'what is in the trash is emptied, and what another host is at only when it does not come to an end',
  async (t) => {
    const { clock, host, put, left } = scene(t);
    for (const name of ['a.1', 'b.2~me', 'c.3~other']) put(`trash/${name}`);
    const empty = host('me');
    await empty();
    t.same(left('trash'), ['c.3~other']);
    clock.now += 14 * 60_000;
    await empty();
    t.same(left('trash'), ['c.3~other']);
    clock.now += 2 * 60_000;
    await empty();
    t.same(left('trash'), []);
  },
);

t.test('what was taken away while it was emptied is begun anew by the next round', async (t) => {
  const { servers, host, put, left } = scene(t);
  put('trash/a.1');
  const empty = host('me');
  servers.onFile = (what) => {
    if (what.startsWith('removeTree')) throw new Error('killed');
  };
  await empty();
  t.same(left('trash'), ['a.1~me']);
  servers.onFile = () => undefined;
  await host('me')();
  t.same(left('trash'), []);
});

t.test('a folder that cannot be emptied yet keeps no other from being emptied', async (t) => {
  const { servers, host, put, left } = scene(t);
  for (const name of ['a.1', 'b.2', 'c.3']) put(`trash/${name}`);
  servers.onFile = (what) => {
    if (what === 'removeTree .drayage/trash/a.1~me') throw Object.assign(new Error('busy'), { code: 'EBUSY' });
  };
  await host('me')();
  t.same(left('trash'), ['a.1~me']);
});

t.test(
  'folders of makings that were given up go after a while; one whose volume exists is put in its place',
  async (t) => {
    const { files, clock, host, put, left } = scene(t);
    put('making/data.00000001');
    put('making/db.00000002');
    await files.makeFolder(VOLUMES, OWN_FOLDER, context());
    const record = { name: 'db', options: {}, created: '2026-01-01T00:00:00.000Z', making: '', uuid: '00000002' };
    await createRecord(files, record, context());
    const empty = host('me');
    await empty();
    t.same(left('making').sort(), ['data.00000001', 'db.00000002'], 'its maker may be at it');
    clock.now += 16 * 60_000;
    await empty();
    t.same(left('making'), []);
    t.same(left('trash'), []);
    t.same(left('volumes/db'), ['deep']);
  },
);

t.test('what a host was removing when it died is settled: nothing of a volume that is there goes', async (t) => {
  const { files, clock, host, put, left } = scene(t);
  const [old, now] = ['00000001', '00000002'];
  const record = (name: string, uuid: string, onRemove: 'delete' | 'retain' = 'delete') => ({
    ...{ name, options: {}, created: '2026-01-01T00:00:00.000Z', making: '', uuid, onRemove },
  });
  for (const name of ['gone', 'kept', 'taken', 'both', 'same', 'moved']) put(`removing/${name}.${old}`);
  // Taken in the place of one that had been removed before.
  await createRecord(files, record('taken', now), context());
  await createRecord(files, record('both', now), context());
  put('volumes/both');
  await createRecord(files, record('same', old), context());
  await createRecord(files, record('moved', now), context());
  put(`removing/moved.${now}/own`);
  await files.makeFolder('.drayage/retained', OWN_FOLDER, context());
  await files.createFile(`.drayage/retained/kept.${old}.json`, recordText(record('kept', old, 'retain')), context());
  await files.createFile(`.drayage/removing/late.${old}.json`, recordText(record('late', now)), context());
  await files.createFile(`.drayage/removing/gone.${old}.json`, recordText(record('gone', old)), context());
  const empty = host('me');
  await empty();
  t.equal(left('removing').length, 9, 'who is at it may be slow');
  clock.now += 16 * 60_000;
  await empty();
  t.same(left('removing'), []);
  t.same(left('trash'), []);
  t.same(left('volumes').sort(), [
    'both',
    'both.json',
    'late.json',
    'moved',
    'moved.json',
    'same',
    'same.json',
    'taken',
    'taken.json',
  ]);
  t.same([left('volumes/taken'), left('volumes/same'), left('volumes/moved')], [['deep'], ['deep'], ['own']]);
  t.same(left('retained').sort(), [`kept.${old}`, `kept.${old}.json`]);
});
