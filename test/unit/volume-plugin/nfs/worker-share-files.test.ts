// Files of shares, through the real worker process, on folders of this machine.
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { codeOf, context, inOwnMounts, messageOf, run, scratch } from '../block/scratch.ts';
import { filesOf, scene } from './worker-scene.ts';

inOwnMounts(import.meta.filename);

const TRAITS = { uid: 0, gid: 0, mode: 0o755 };

t.test(
  'a new folder has the owner and the permissions that were asked for; one that is there keeps its own',
  async (t) => {
    const { root, files, c } = scene(t);
    t.equal(await files.makeFolder('a/b', { uid: 33, gid: 44, mode: 0o2770 }, c), true);
    const { uid, gid, mode } = statSync(join(root, 'a/b'));
    t.same([uid, gid, mode & 0o7777], [33, 44, 0o2770]);
    t.equal(statSync(join(root, 'a')).mode & 0o7777, 0o755, 'those above it are anybody’s to pass through');
    t.equal(await files.makeFolder('a/b', TRAITS, c), false);
    t.equal(statSync(join(root, 'a/b')).uid, 33);
    t.same([await files.hasFolder('a/b', c), await files.hasFolder('a/c', c)], [true, false]);
  },
);

t.test('a folder whose making was cut off before it had its owner is finished by the next one', async (t) => {
  const { root, files, c } = scene(t);
  mkdirSync(join(root, 'a'), { mode: 0o1700 });
  t.equal(await files.makeFolder('a', { uid: 33, gid: 33, mode: 0o750 }, c), true);
  t.same([statSync(join(root, 'a')).uid, statSync(join(root, 'a')).mode & 0o7777], [33, 0o750]);
});

t.test('of two hosts that create the same file at once one does, and the file is whole', async (t) => {
  const { root, files: one, c } = scene(t);
  const other = filesOf(t, root);
  await Promise.all([one.names('', c), other.names('', c)]);
  for (let n = 0; n < 20; n += 1) {
    const texts = ['a', 'b'].map((letter) => letter.repeat(100_000));
    const [first = '', second = ''] = texts;
    const made = await Promise.all([one.createFile(`${n}.json`, first, c), other.createFile(`${n}.json`, second, c)]);
    t.equal(made.filter(Boolean).length, 1);
    t.equal(await one.readFile(`${n}.json`, c), made[0] ? first : second);
  }
  t.equal(readdirSync(root).length, 20, 'and nothing else is left');
});

t.test('a note of this host says what it was last told, also after a crash has left it empty', async (t) => {
  const { root, files, c } = scene(t);
  mkdirSync(join(root, '.drayage/users'), { recursive: true });
  const path = '.drayage/users/data@one.json';
  await files.noteFile(path, 'a longer note', c);
  await files.noteFile(path, 'a note', c);
  t.equal(await files.readFile(path, c), 'a note');
  writeFileSync(join(root, path), '');
  await files.noteFile(path, 'a note', c);
  t.equal(await files.readFile(path, c), 'a note');
  t.same(readdirSync(join(root, '.drayage/users')), ['data@one.json'], 'and nothing else is left');
  symlinkSync('/etc/hostname', join(root, '.drayage/users/link'));
  t.match(await codeOf(files.noteFile('.drayage/users/link', 'x', c)), /BACKEND_REFUSED|SHARE_/);
  t.equal(await codeOf(files.noteFile('.drayage/nowhere/x', 'x', c)), 'SHARE_MISSING');
});

t.test('no symbolic link in the place of a folder of ours leads anywhere', async (t) => {
  const { root, files, c } = scene(t);
  mkdirSync(join(root, 'elsewhere/volumes'), { recursive: true });
  symlinkSync('elsewhere', join(root, '.drayage'));
  for (const path of ['.drayage/volumes', '.drayage/volumes/data']) t.equal(await files.hasFolder(path, c), false);
  t.not(await codeOf(files.createFile('.drayage/volumes/data.json', '', c)), 'none');
  t.same(readdirSync(join(root, 'elsewhere/volumes')), []);
});

t.test('a file that is replaced is always there, as it was or as it is', async (t) => {
  const { root, files, c } = scene(t);
  await files.createFile('lease', '0'.repeat(1000), c);
  let torn = 0;
  const filesToRead = filesOf(t, root);
  const reading = (async () => {
    for (let n = 0; n < 60; n += 1) {
      const text = (await filesToRead.readFile('lease', c)) ?? '';
      if (text.length !== 1000 || new Set(text).size !== 1) torn += 1;
    }
  })();
  for (let n = 1; n < 30; n += 1) await files.replaceFile('lease', `${n % 10}`.repeat(1000), c);
  await reading;
  t.equal(torn, 0);
  await files.removeFile('lease', c);
  await files.removeFile('lease', c);
  t.equal(await files.readFile('lease', c), undefined);
});

t.test('a symbolic link that somebody has put on the share leads nowhere', async (t) => {
  const { root, files, c } = scene(t);
  const outside = scratch(t);
  writeFileSync(join(outside, 'secret.json'), 'secret');
  mkdirSync(join(root, 'real'));
  symlinkSync(outside, join(root, 'evil'));
  symlinkSync(join(outside, 'secret.json'), join(root, 'real', 'link.json'));
  symlinkSync(outside, join(root, 'real', 'folder'));
  const refused = [
    () => files.readFile('evil/secret.json', c),
    () => files.readFile('real/link.json', c),
    () => files.createFile('evil/new', '', c),
    () => files.replaceFile('evil/secret.json', '', c),
    () => files.makeFolder('evil/a', TRAITS, c),
    () => files.makeFolder('evil', TRAITS, c),
    () => files.removeFile('evil/secret.json', c),
    () => files.move('evil/secret.json', 'mine', c),
    () => files.names('evil', c),
    () => files.bind('evil', scratch(t), null, c),
    () => files.removeTree('evil', c),
    () => files.readFile('../x', c),
    () => files.removeTree('', c),
  ];
  for (const [index, one] of refused.entries()) t.equal(await codeOf(one()), 'BACKEND_REFUSED', `call ${index}`);
  t.equal(await files.hasFolder('evil', c), false);
  t.same(await files.readFiles('real', '.json', c), []);
  await files.removeTree('real', c);
  t.equal(readFileSync(join(outside, 'secret.json'), 'utf8'), 'secret');
  t.same([existsSync(join(root, 'real')), lstatSync(join(root, 'evil')).isSymbolicLink()], [false, true]);
});

t.test('all files with an ending are read; what is no file, and what is being written, is not', async (t) => {
  const { root, files, c } = scene(t);
  t.same(await files.readFiles('v', '.json', c), []);
  for (let n = 0; n < 50; n += 1) await files.createFile(`v${n}.json`, String(n), c);
  mkdirSync(join(root, 'x.json'));
  writeFileSync(join(root, '.~y.json'), '');
  writeFileSync(join(root, 'z.txt'), '');
  const found = await files.readFiles('', '.json', c);
  t.same(found.map(({ name }) => name).sort(), Array.from({ length: 50 }, (_, n) => `v${n}.json`).sort());
  t.ok(found.every(({ name, content }) => name === `v${content}.json`));
  t.equal((await files.names('', c)).length, 52, 'names are told of folders, too');
  t.same(await files.names('gone', c), []);
});

t.test(
  'what a crash has left goes after a day, and not what is being written where a clock is days behind',
  async (t) => {
    const { root, files, c } = scene(t);
    const days = (n: number): Date => new Date(Date.now() - n * 86_400_000);
    for (const name of ['.~old', '.~new']) writeFileSync(join(root, name), '');
    for (const name of ['.~old', '.~new', '']) utimesSync(join(root, name), days(3), days(3));
    await files.readFiles('', '.json', c);
    t.same(readdirSync(root).sort(), ['.~new', '.~old'], 'to the server all of it is new');
    utimesSync(join(root, '.~new'), days(0), days(0));
    utimesSync(root, days(0), days(0));
    await files.readFiles('', '.json', c);
    t.same(readdirSync(root), ['.~new']);
  },
);

t.test('files that somebody has made too large end no worker', async (t) => {
  const { root, files, c } = scene(t);
  await files.createFile('good.json', '{}', c);
  writeFileSync(join(root, 'huge.json'), 'x'.repeat(2 ** 20));
  const found = await files.readFiles('', '.json', c);
  t.same(Object.fromEntries(found.map(({ name, content }) => [name, content])), { 'good.json': '{}', 'huge.json': '' });
  t.match(await messageOf(files.readFile('huge.json', c)), /BACKEND_REFUSED: .*read huge\.json: it is too large/);
  for (let n = 0; n < 500; n += 1) writeFileSync(join(root, `v${n}.json`), 'x'.repeat(60_000));
  const other = files.readFile('good.json', c);
  t.match(await messageOf(files.readFiles('', '.json', c)), /BACKEND_REFUSED: .*it is too large/);
  t.equal(await other, '{}');
});

t.test('a folder of any depth and width goes, for two hosts at once as well', async (t) => {
  const { root, files, c } = scene(t);
  const deep = join(root, 'tree', ...Array.from({ length: 120 }, () => 'd'));
  mkdirSync(deep, { recursive: true });
  writeFileSync(join(deep, 'f'), '');
  for (let n = 0; n < 300; n += 1) writeFileSync(join(root, 'tree', `f${n}`), '');
  await Promise.all([files.removeTree('tree', c), filesOf(t, root).removeTree('tree', c)]);
  t.same(readdirSync(root), []);
  await files.removeTree('tree', c);
});

t.test('files with names that are no text go with their folder', async (t) => {
  const { root, files } = scene(t);
  mkdirSync(join(root, 'tree'));
  const odd = (...bytes: number[]) => Buffer.concat([Buffer.from(join(root, 'tree/')), Buffer.from(bytes)]);
  writeFileSync(odd(0x66, 0xff), '');
  mkdirSync(odd(0xe4));
  writeFileSync(Buffer.concat([odd(0xe4), Buffer.from([0x2f, 0xfc])]), '');
  mkdirSync(join(root, 'tree/ä ö'));
  await files.removeTree('tree', context(5_000));
  t.same(readdirSync(root), []);
});

t.test('what cannot be removed keeps nothing else in its folder, and no worker ends over it', async (t) => {
  const { root, files } = scene(t);
  mkdirSync(join(root, 'tree'));
  for (let n = 0; n < 100; n += 1) mkdirSync(join(root, 'tree', `d${n}/e`), { recursive: true });
  const busy = ['m', 'n'].map((name) => join(root, 'tree', name));
  for (const path of busy) {
    // A file that something is mounted on cannot be removed, as one that is open on a client of NFS.
    writeFileSync(path, '');
    run('mount', '--bind', '/dev/null', path);
  }
  const other = files.removeTree('none', context());
  t.equal(await codeOf(files.removeTree('tree', context())), 'BACKEND_REFUSED');
  await other;
  t.same(readdirSync(join(root, 'tree')), ['m', 'n']);
  for (const path of busy) run('umount', path);
  await files.removeTree('tree', context());
  t.same(readdirSync(root), []);
});

t.test('what is moved is moved once', async (t) => {
  const { files, c } = scene(t);
  await files.makeFolder('a/b', TRAITS, c);
  await files.makeFolder('trash', TRAITS, c);
  t.same([await files.move('a/b', 'trash/b', c), await files.move('a/b', 'trash/b', c)], [true, false]);
  t.equal(await files.hasFolder('trash/b', c), true);
  t.equal(await codeOf(files.move('trash/b', 'nowhere/b', c)), 'SHARE_MISSING');
});

t.test('a share that is full or can be read only says so', async (t) => {
  const { root, files, c } = scene(t);
  run('mount', '-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', root);
  t.equal(await codeOf(files.createFile('a', 'x'.repeat(200_000), c)), 'BACKEND_REFUSED');
  t.match(await messageOf(files.createFile('a', 'x'.repeat(200_000), c)), /refused to write a: there is no space left/);
  t.same(await files.names('', c), [], 'nothing of it stays');
  const { size, free } = await files.room('', c);
  t.same([size, free <= size && free > 0], [65_536, true]);
  await files.makeFolder('there', TRAITS, c);
  run('mount', '-o', 'remount,ro', root);
  t.equal(await codeOf(files.createFile('a', '', c)), 'SHARE_READONLY');
  t.equal(await codeOf(files.makeFolder('new', TRAITS, c)), 'SHARE_READONLY');
  t.equal(await files.makeFolder('there', TRAITS, c), false, 'what is there need not be made');
});
