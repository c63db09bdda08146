import { mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { cached } from '../../../plugin-configs/cache.ts';

let root = '';

t.beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'drayage-cache-'));
  process.env.DRAYAGE_CACHE = root;
});

t.afterEach(async () => {
  delete process.env.DRAYAGE_CACHE;
  await rm(root, { recursive: true, force: true });
});

const fill = (text: string) => (folder: string) => writeFile(join(folder, 'content'), text);

t.test('builds once and answers the same folder from then on', async (t) => {
  const first = await cached('base', 'k1', fill('one'));
  const second = await cached('base', 'k1', fill('two'));
  t.equal(second, first);
  t.equal(await readFile(join(second, 'content'), 'utf8'), 'one');
});

t.test('another key is another folder', async (t) => {
  const first = await cached('base', 'k1', fill('one'));
  const second = await cached('base', 'k2', fill('two'));
  t.not(second, first);
  t.equal(await readFile(join(second, 'content'), 'utf8'), 'two');
});

t.test('of two builds at once both get a whole folder, and nothing is left beside it', async (t) => {
  const both = await Promise.all([cached('base', 'k1', fill('same')), cached('base', 'k1', fill('same'))]);
  t.equal(both[0], both[1]);
  t.equal(await readFile(join(both[0], 'content'), 'utf8'), 'same');
  t.same(await readdir(root), ['base-k1']);
});

t.test('a build that fails leaves nothing that counts', async (t) => {
  const broken = async (folder: string): Promise<void> => {
    await fill('half')(folder);
    throw new Error('the mirror is down');
  };
  await t.rejects(cached('base', 'k1', broken), /the mirror is down/);
  t.same(await readdir(root), []);
});

t.test('a build removes what a killed one left, and what nobody has used for weeks', async (t) => {
  const day = 24 * 3_600_000;
  for (const [name, age] of [
    ['.base-k0-dead', day],
    ['.base-k0-busy', 0],
    ['base-old', 30 * day],
    ['base-recent', day],
    ['other-old', 30 * day],
  ] as const) {
    await mkdir(join(root, name));
    const then = new Date(Date.now() - age);
    await utimes(join(root, name), then, then);
  }
  await cached('base', 'k1', fill('new'));
  t.same((await readdir(root)).sort(), ['.base-k0-busy', 'base-k1', 'base-recent', 'other-old']);
});
