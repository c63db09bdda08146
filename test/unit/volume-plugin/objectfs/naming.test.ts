import t from 'tap';
import { conflictName } from '../../../../volume-plugin/objectfs/homes.ts';
import { contentTypeOf } from '../../../../volume-plugin/objectfs/media-types.ts';
import { isName, Naming } from '../../../../volume-plugin/objectfs/naming.ts';
import { refused } from './namespace-world.ts';

t.test('paths are keys behind the prefix, and folders end in a slash', async (t) => {
  const naming = new Naming('vol/');
  t.equal(naming.key('a/b'), 'vol/a/b');
  t.equal(naming.folderKey('a'), 'vol/a/');
  t.equal(naming.folderKey(''), 'vol/');
  t.equal(naming.markerKey(''), 'vol/');
  t.equal(naming.hidden('renames/', 'x'), 'vol/.drayage/renames/x');
  const whole = new Naming('');
  t.equal(whole.key('a'), 'a');
  t.equal(whole.folderKey(''), '');
  t.equal(whole.markerKey(''), '.drayage/', 'a bucket’s root has no key of its own');
});

t.test('names that nothing can be made under are refused by the errno that says why', async (t) => {
  const naming = new Naming('vol/');
  const errno = (folder: string, name: string): Promise<string> => refused(() => naming.check(folder, name));
  t.equal(await errno('', 'ordinary ü 名前 \\ : * ? " < > |'), 'nothing was refused');
  t.equal(await errno('', '.drayage'), 'EPERM');
  t.equal(await errno('a', '.drayage'), 'nothing was refused', 'it is hidden at the root alone');
  t.equal(await errno('', 'n'.repeat(255)), 'nothing was refused');
  t.equal(await errno('', 'n'.repeat(256)), 'ENAMETOOLONG');
  t.equal(await errno('', 'ü'.repeat(128)), 'ENAMETOOLONG');
  t.equal(await errno('', '\udc80'), 'EILSEQ');
  for (const name of ['', '.', '..', 'a/b', 'a\0']) t.equal(await errno('', name), 'EINVAL', JSON.stringify(name));
  const deep = Array.from({ length: 5 }, () => 'd'.repeat(200)).join('/');
  t.equal(await errno(deep, 'n'.repeat(13)), 'nothing was refused');
  t.equal(await errno(deep, 'n'.repeat(14)), 'ENAMETOOLONG', 'a key with the slash of a folder has 1,023 bytes');
  for (const name of ['.', '..', '', 'x\0', 'n'.repeat(256)]) t.notOk(isName(name));
});

t.test('a copy of what lost is named after the file, its host and the time, and fits', async (t) => {
  const time = new Date('2026-11-22T16:08:29.123Z');
  t.equal(conflictName('a.txt', 'web-1', time), 'a.txt.conflict-web-1-20261122T160829Z');
  t.equal(conflictName('a', 'we/b 1', time), 'a.conflict-we_b_1-20261122T160829Z');
  const long = conflictName('ü'.repeat(127), 'h'.repeat(100), time);
  t.ok(Buffer.byteLength(long) <= 255 && long.isWellFormed());
  t.match(long, /^ü+\.conflict-h{64}-/);
});

t.test('content types follow from the name', async (t) => {
  t.equal(contentTypeOf('index.HTML'), 'text/html');
  t.equal(contentTypeOf('a.tar.gz'), 'application/gzip');
  for (const name of ['README', '.png', 'a.constructor', 'a.unknown']) {
    t.equal(contentTypeOf(name), 'application/octet-stream', name);
  }
});
