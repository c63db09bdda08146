// Bytes of objects on the local disk: what is closed, dropped and opened again while they are being written.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import type { Logger } from '../../../../shared/log.ts';
import { silentLogger } from '../../../../shared/log.ts';
import { BlockCache } from '../../../../volume-plugin/objectfs/block-cache.ts';
import type { CachedObject } from '../../../../volume-plugin/objectfs/block-cache-object.ts';
import type { Base } from '../../../../volume-plugin/objectfs/content.ts';
import { until } from '../../../rig/command.ts';

t.setTimeout(120_000);

const KIB = 1024;
const MIB = 1024 * KIB;

const baseOf = (name: string, size: number): Base => ({ key: name, etag: `etag-of-${name}`, size });

interface Site {
  readonly folder: string;
  readonly warnings: string[];
  open(limit?: number): Promise<BlockCache>;
  /** Names on the disk. */
  files(): string[];
}

const siteOf = (t: { teardown(work: () => void): void }): Site => {
  const folder = mkdtempSync(join(tmpdir(), 'block-cache-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const warnings: string[] = [];
  const log: Logger = { ...silentLogger, warn: (message) => void warnings.push(message) };
  return {
    folder,
    warnings,
    open: async (limit = 64 * MIB) => {
      const cache = await BlockCache.open(folder, limit, 0, 'boot', log);
      if (cache === undefined) throw new Error('there is no cache');
      return cache;
    },
    files: () =>
      readdirSync(folder, { recursive: true }).flatMap((one) => (one.toString().includes('/') ? [one.toString()] : [])),
  };
};

const opened = (cache: BlockCache, base: Base): CachedObject => {
  const object = cache.open(base);
  if (object === undefined) throw new Error(`${base.key} is not to be kept`);
  return object;
};

const kept = (object: CachedObject, offset: number, data: Buffer): Promise<void> =>
  new Promise((resolve) => object.keep(offset, data, resolve));

t.test('what is closed while its bytes are being written is there afterwards', async (t) => {
  const site = siteOf(t);
  const cache = await site.open();
  const bases = Array.from({ length: 200 }, (_, n) => baseOf(`small-${n}`, 16 * KIB));
  await Promise.all(
    bases.map((base) => {
      const object = opened(cache, base);
      const written = kept(object, 0, Buffer.alloc(base.size, base.key));
      object.close();
      return written;
    }),
  );
  await until('the last one to be closed', () => bases.every((base) => cache.has(base)));
  t.same(site.warnings, [], 'the disk has refused nothing');
  for (const base of bases) {
    const object = opened(cache, base);
    const into = Buffer.alloc(base.size);
    t.ok(object.complete && object.readNow(0, into) && into.equals(Buffer.alloc(base.size, base.key)), base.key);
    object.close();
  }
  t.same(readdirSync(site.folder).length, 1);
  t.equal(site.files().filter((name) => name.includes('.')).length, 0, 'nothing is left but whole files');
});

t.test('what is forgotten and made again at once stays', async (t) => {
  const site = siteOf(t);
  const cache = await site.open();
  const base = baseOf('again', 4 * MIB);
  const half = Buffer.alloc(2 * MIB, 'half');
  for (let n = 0; n < 100; n += 1) {
    const first = opened(cache, base);
    await kept(first, 0, half);
    first.close();
    cache.forget(base);
    t.notOk(cache.has(base));
    const second = opened(cache, base);
    await Promise.all([kept(second, 0, half), kept(second, half.length, half)]);
    t.ok(second.complete, `${n}`);
    second.close();
    t.ok(cache.has(base));
    cache.forget(base);
  }
  t.same(site.warnings, []);
});

t.test('the next life believes of an object that is there in part what its map says, and no more', async (t) => {
  const site = siteOf(t);
  const base = baseOf('parted', 4 * MIB);
  const [head, tail] = [Buffer.alloc(MIB, 'head'), Buffer.alloc(MIB, 'tail')];
  const first = await site.open();
  const object = opened(first, base);
  await kept(object, 0, head);
  object.close();
  const again = opened(first, base);
  t.ok(again.has(0, MIB), 'its map is there as soon as it is closed');
  again.close();
  first.forget(base);
  const anew = opened(first, base);
  t.notOk(anew.has(0, MIB), 'one that is made anew has nothing');
  await kept(anew, 3 * MIB, tail);
  // The engine dies: nothing is closed.
  const second = await site.open();
  const found = opened(second, base);
  t.notOk(found.has(0, MIB), 'no map of the former one is believed');
  await kept(found, 3 * MIB, tail);
  found.close();
  const third = await site.open();
  const last = opened(third, base);
  t.ok(last.has(3 * MIB, 4 * MIB));
  t.notOk(last.has(0, MIB));
  const into = Buffer.alloc(MIB);
  t.ok(last.readNow(3 * MIB, into) && into.equals(tail));
  last.close();
});

t.test('the least recently used go when there is no room, and leave nothing', async (t) => {
  const site = siteOf(t);
  const cache = await site.open(8 * MIB);
  const bases = Array.from({ length: 20 }, (_, n) => baseOf(`old-${n}`, MIB));
  for (const base of bases) {
    const object = opened(cache, base);
    await kept(object, 0, Buffer.alloc(MIB, base.key));
    object.close();
  }
  t.ok(cache.bytes <= 8 * MIB, `${cache.bytes}`);
  t.same(bases.map((base) => cache.has(base)).lastIndexOf(false), bases.length - 1 - cache.count);
  await until('the others’ files to be gone', () => site.files().length === cache.count);
  const [name = ''] = site.files();
  t.equal(readFileSync(join(site.folder, name)).length, MIB);
  t.same(site.warnings, []);
});
