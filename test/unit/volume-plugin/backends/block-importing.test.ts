import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { context, inOwnMounts, messageOf, run } from '../block/scratch.ts';
import { cluster, imageNamed } from './block-cluster.ts';

inOwnMounts(import.meta.filename);
t.setTimeout(120_000);

t.test('an image that lies in the folder becomes a volume as it is, as REX-Ray keeps it or otherwise', async (t) => {
  const { a, b, disks, folder } = await cluster(t);
  const image = (name: string, path: string, text: string): void => {
    const root = join(folder, name);
    mkdirSync(join(root, path), { recursive: true });
    writeFileSync(join(root, path, 'row'), text);
    execFileSync('mkfs.ext4', ['-q', '-F', '-d', root, join(disks, name), '16M'], { stdio: 'ignore' });
  };
  image('rexray.img', 'data', 'from REX-Ray');
  image('flat.raw', '', 'at the root');
  image('deep.img', 'srv/www', 'deep');
  const volume = await a.import('rexray', 'pgdata');
  t.match(volume, { name: 'pgdata', options: { size: '16m' }, whereabouts: 'available' });
  t.same((await b.import('rexray', 'pgdata')).handle, volume.handle, 'once');
  await b.mount(volume);
  t.equal(readFileSync(b.inside('pgdata', 'row'), 'utf8'), 'from REX-Ray');
  t.match(b.backend.status(volume), { imported: 'rexray', fs: 'ext4' });
  await b.leave(volume);
  const flat = await a.import('flat.raw', 'flat', '');
  t.equal((await a.mount(flat)).inside, '');
  t.equal(readFileSync(join(a.target('flat'), 'row'), 'utf8'), 'at the root');
  await a.leave(flat);
  const deep = await a.import('deep', 'deep', 'srv/www');
  t.equal((await a.mount(deep)).inside, 'srv/www');
  // Copies of it have their data in the same place.
  const clone = await a.create('deeper', { from: 'deep' });
  t.equal((await a.mount(clone)).inside, 'srv/www');
  t.equal(readFileSync(join(a.target('deeper'), 'srv/www/row'), 'utf8'), 'deep');
  await a.leave(clone);
  await a.leave(deep);
});

const loopOf = (file: string): string => run('losetup', '--associated', file).split(':')[0] ?? '';

t.test('what cannot be imported is refused in words, and nothing that is imported is ever formatted', async (t) => {
  const { a, b, disks } = await cluster(t);
  const refused = async (disk: string, volume: string, inside?: string) => messageOf(a.import(disk, volume, inside));
  t.match(
    await refused('nothing', 'data'),
    /^IMPORT_REFUSED: nothing cannot become volume data: there is no disk with this/,
  );
  const mine = await a.create('mine');
  t.match(await refused('mine', 'data'), /: it is the disk of volume mine\./);
  t.match(await refused('other', 'mine'), /^VOLUME_EXISTS/);
  for (const name of ['same.img', 'same.raw', 'blank.img']) {
    writeFileSync(join(disks, name), '');
    run('truncate', '-s', '16M', join(disks, name));
  }
  t.match(
    await refused('same', 'data'),
    /: there are several with this name: same\.img, same\.raw; give one by its id/,
  );
  for (const inside of ['..', 'a/../b', '/x', 'a//b'])
    t.match(await refused('blank', 'data', inside), /is not a folder of/);
  const blank = await a.import('blank', 'blank');
  t.match(await messageOf(a.mount(blank)), /^FORMAT_REFUSED: .* it was imported, and nothing is found there/);
  await a.backend.leave(blank, context());
  run('mkfs.ext4', '-q', '-F', imageNamed(disks, blank));
  t.match(await messageOf(a.mount(blank)), /^VOLUME_NOT_MOUNTED: .* was imported, and has no folder data/);
  await a.leave(blank);
  t.match(await a.import('blank', 'blank', ''), { name: 'blank' }, 'which is what it says to do');
  t.equal((await a.mount(blank)).inside, '');
  await a.leave(blank);
  await b.import('blank', 'blank');
  t.equal((await b.mount(blank)).inside, '', 'and stays so when nothing is said of it');
  await b.leave(blank);
  run('losetup', '--find', join(disks, 'same.img'));
  t.teardown(() => run('losetup', '--detach', loopOf(join(disks, 'same.img'))));
  t.match(await refused('same.img', 'data'), /: it is attached to this host as \/dev\/loop\d+\./);
  await a.mount(mine);
  await a.leave(mine);
  await b.provider.attach(mine.handle.disk ?? '', context());
  t.match(await messageOf(a.remove(mine)), /^VOLUME_BUSY: .* host-1/);
});
