// @timeout 2m
// What goes on between kernel and engine beside answers: caches and what takes from them, interrupts, what takes long, what fails.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { newContext } from '../../../../shared/context.ts';
import { codeOf } from '../../../../shared/error-code.ts';
import { silentLogger } from '../../../../shared/log.ts';
import { killKeeper } from '../../../../volume-plugin/fuse/keeper.ts';
import { until } from '../../../rig/command.ts';
import { MemoryMount } from '../../../rig/memory-mount.ts';
import { getAttribute, listAttributes, setAttribute } from '../../../suites/libc.ts';
import { inOwnMounts } from '../block/scratch.ts';
import { refusal } from './refusal.ts';

inOwnMounts(import.meta.filename);
t.setTimeout(120_000);

/** A process of a keeper's that waits in the kernel so that it cannot be killed; undefined: there is none. */
const waitsInKernel = (keeper: number): number | undefined =>
  readdirSync('/proc')
    .map(Number)
    .find((pid) => {
      const path = `/proc/${pid}/stat`;
      if (!(pid > 0) || !existsSync(path)) return false;
      const [state, , , session] = readFileSync(path, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
      return state === 'D' && Number(session) === keeper;
    });

/** Has the engine do something of its own. */
const command = (t: Test, one: MemoryMount, ...words: readonly string[]): void => {
  t.equal(
    refusal(() => mkdirSync(one.path(`@${words.join(':')}`))),
    'EBUSY',
    words.join(' '),
  );
};

const counts = (t: Test, one: MemoryMount): Record<string, number> => {
  command(t, one, 'counts');
  return JSON.parse(readFileSync(join(one.folder, 'counts.json'), 'utf8')) as Record<string, number>;
};

t.test('a file changed by others is seen by whoever reads it, once the kernel is told', async (t) => {
  const one = await MemoryMount.make(t, { validMs: 3_600_000 });
  writeFileSync(one.path('file'), 'before');
  const fd = openSync(one.path('file'), 'r');
  const read = (): string => {
    const buffer = Buffer.alloc(32);
    return buffer.toString('utf8', 0, readSync(fd, buffer, 0, 32, 0));
  };
  t.equal(read(), 'before');
  command(t, one, 'behind', 'file', 'afterwards');
  t.equal(read(), 'before', 'from the page cache');
  command(t, one, 'tell', 'file');
  await until('the new bytes', async () => read() === 'afterwards');
  closeSync(fd);

  chmodSync(one.path('file'), 0o644);
  t.equal(statSync(one.path('file')).mode, 0o100644);
  command(t, one, 'mode', 'file', '600');
  t.equal(statSync(one.path('file')).mode, 0o100644);
  command(t, one, 'tell-attributes', 'file');
  t.equal(statSync(one.path('file')).mode, 0o100600, 'at once');

  // What the kernel does not know is no concern, and does not end who tells it.
  command(t, one, 'tell-name', '', 'no such name %s \\ \u{1f600}');
  command(t, one, 'unname', 'file');
  t.equal(existsSync(one.path('file')), true);
  command(t, one, 'tell-name', '', 'file');
  await until('the name to be gone', async () => !existsSync(one.path('file')));
});

t.test('what the kernel may rely on it does not ask for again', async (t) => {
  const one = await MemoryMount.make(t, { validMs: 3_600_000 });
  writeFileSync(one.path('file'), 'x'.repeat(10_000));
  readFileSync(one.path('file'));
  // The first read has changed the time of the last one, of which the kernel asks once.
  statSync(one.path('file'));
  const before = counts(t, one);
  for (let at = 0; at < 50; at += 1) {
    statSync(one.path('file'));
    readFileSync(one.path('file'));
  }
  const after = counts(t, one);
  t.equal((after['lookup'] ?? 0) - (before['lookup'] ?? 0), 1, 'the look for the command’s name');
  t.equal(after['getattr'], before['getattr']);
  t.equal(after['read'], before['read'], 'the pages are kept from one open to the next');
  t.equal((after['open'] ?? 0) - (before['open'] ?? 0), 50, 'each open is asked for');
});

t.test('a reader that is interrupted stops waiting', async (t) => {
  const one = await MemoryMount.make(t, { validMs: 3_600_000, slowMs: 60_000 });
  // Whoever looks for a name holds its folder in the kernel: nothing is made in there meanwhile.
  mkdirSync(one.path('folder'));
  const reader = spawn('cat', [one.path('folder', 'slow')], { stdio: ['ignore', 'ignore', 'pipe'] });
  await sleep(300);
  writeFileSync(one.path('quick'), 'others do not wait');
  t.equal(readFileSync(one.path('quick'), 'utf8'), 'others do not wait');
  const began = performance.now();
  reader.kill('SIGTERM');
  await once(reader, 'exit');
  t.ok(performance.now() - began < 10_000);
});

t.test('slow reads are interrupted as well, and end with EINTR', async (t) => {
  const one = await MemoryMount.make(t, { validMs: 3_600_000, slowMs: 60_000 });
  writeFileSync(one.path('plain'), 'x');
  command(t, one, 'slow', 'plain');
  const reader = spawn('cat', [one.path('plain')], { stdio: ['ignore', 'ignore', 'pipe'] });
  await until('the read', async () => (counts(t, one)['read'] ?? 0) > 0);
  reader.kill('SIGTERM');
  await once(reader, 'exit');
  t.equal(counts(t, one)['interrupted'], 1);
});

t.test('writes that take their time keep their bytes, many at once, and hold up nobody', async (t) => {
  const one = await MemoryMount.make(t, { validMs: 3_600_000, slowMs: 100 });
  const piece = 1 << 20;
  const files = Array.from({ length: 6 }, (_, at) => at);
  // Made by another name: looking for a slow one is slow.
  for (const at of files) {
    writeFileSync(one.path(`file-${at}`), '');
    command(t, one, 'slow', `file-${at}`);
  }
  await Promise.all(
    files.map(async (at) => {
      const file = await open(one.path(`file-${at}`), 'r+');
      // No zeros: memory that nobody has touched is written page by page by the kernel.
      for (let part = 0; part < 3; part += 1)
        await file.write(Buffer.alloc(piece, at * 3 + part + 1), 0, piece, part * piece);
      await file.write(Buffer.from('end'), 0, 3, 3 * piece);
      await file.close();
    }),
  );
  for (const at of files) {
    const got = await readFile(one.path(`file-${at}`));
    const wanted = [0, 1, 2].map((part) => Buffer.alloc(piece, at * 3 + part + 1));
    t.ok(got.equals(Buffer.concat([...wanted, Buffer.from('end')])), `file ${at}`);
  }
});

t.test('a mistake in the file system is an error of one request, and no more', async (t) => {
  const one = await MemoryMount.make(t);
  const engine = await one.engine();
  t.equal(
    refusal(() => mkdirSync(one.path('@mistake'))),
    'EIO',
  );
  writeFileSync(one.path('file'), 'goes on');
  t.equal(readFileSync(one.path('file'), 'utf8'), 'goes on');
  t.equal(await one.engine(), engine);
});

t.test('names are taken from the kernel while others work in the folder, and while the engine is killed', async (t) => {
  const one = await MemoryMount.make(t, { validMs: 3_600_000, slowMs: 2_500 });
  mkdirSync(one.path('folder'));
  writeFileSync(one.path('folder', 'file'), 'x');
  // A look for a name holds the folder until it is answered: whoever takes a name from it waits for that.
  const waiting = readFile(one.path('folder', 'slow')).catch((error: unknown) => codeOf(error));
  await sleep(200);
  command(t, one, 'tell-name', 'folder', 'file');
  await until('it to be told', () => waitsInKernel(one.keeper ?? 0));
  const engine = await one.engine();
  process.kill(engine, 'SIGKILL');
  t.equal(await waiting, 'ENOENT', 'the next engine answers');
  t.not(await one.engine(), engine);
  await writeFile(one.path('folder', 'file'), 'y');
  t.equal(await readFile(one.path('folder', 'file'), 'utf8'), 'y');
});

t.test(
  'a kernel that sends nothing again: what waits when the engine is killed fails, and nothing hangs',
  async (t) => {
    const one = await MemoryMount.make(t, { validMs: 3_600_000, slowMs: 60_000, resend: false });
    writeFileSync(one.path('file'), 'x');
    command(t, one, 'slow', 'file');
    const engines = [await one.engine()];
    for (const life of [1, 2]) {
      const waiting = readFile(one.path('slow')).catch((error: unknown) => codeOf(error));
      await sleep(200);
      process.kill(engines[0] ?? 0, 'SIGKILL');
      t.equal(await waiting, 'ECONNABORTED', `life ${life}`);
      writeFileSync(one.path(`after-${life}`), 'it goes on');
      t.equal(readFileSync(one.path(`after-${life}`), 'utf8'), 'it goes on');
      engines.unshift(await one.engine());
    }
    t.equal(new Set(engines).size, 3);
    await one.unmount();
  },
);

t.test('a mount is ended at once, even when what tells the kernel of changes cannot be killed', async (t) => {
  const one = await MemoryMount.make(t, { validMs: 3_600_000, slowMs: 60_000 });
  mkdirSync(one.path('folder'));
  writeFileSync(one.path('folder', 'file'), 'x');
  const waiting = readFile(one.path('folder', 'slow')).catch((error: unknown) => codeOf(error));
  await sleep(200);
  command(t, one, 'tell-name', 'folder', 'file');
  // For a moment it is held back; then it waits for the folder, and so for whoever waits for the engine.
  const speaker = await until('it to wait in the kernel', () => waitsInKernel(one.keeper ?? 0));
  process.kill(speaker, 'SIGKILL');
  await sleep(100);
  t.ok(existsSync(`/proc/${speaker}`), 'it cannot be killed');
  await killKeeper(one.folder, newContext(silentLogger, 10_000));
  t.match(await waiting, /ECONNABORTED|ENOTCONN/);
  t.equal(waitsInKernel(one.keeper ?? 0), undefined);
  t.equal(
    refusal(() => statSync(one.path('folder'))),
    'ENOTCONN',
    'it is still mounted',
  );
});

t.test('without extended attributes the kernel asks for none', async (t) => {
  const one = await MemoryMount.make(t, { xattrs: false });
  writeFileSync(one.path('file'), 'x');
  t.equal(
    refusal(() => setAttribute(one.path('file'), 'user.one', Buffer.from('x'))),
    'ENOTSUP',
  );
  t.equal(
    refusal(() => getAttribute(one.path('file'), 'user.one')),
    'ENOTSUP',
  );
  t.equal(
    refusal(() => listAttributes(one.path('file'))),
    'ENOTSUP',
  );
});

t.test('a reader is read ahead of', async (t) => {
  const one = await MemoryMount.make(t);
  writeFileSync(one.path('file'), 'x');
  const { dev } = statSync(one.path('file'));
  t.equal(readFileSync(`/sys/class/bdi/0:${dev}/read_ahead_kb`, 'utf8').trim(), '8192');
});

t.test('the kernel reads local files by itself where it can', async (t) => {
  const one = await MemoryMount.make(t, { validMs: 3_600_000, passthrough: true });
  const data = Buffer.alloc(3 << 20, 'abcdefghijk');
  writeFileSync(one.path('file'), data);
  t.ok(readFileSync(one.path('file')).equals(data));
  if ((counts(t, one)['read'] ?? 0) > 0) {
    t.comment('not asserted: this kernel, or the file system of the temporary folder, does not');
    return;
  }
  const first = openSync(one.path('file'), 'r');
  const second = openSync(one.path('file'), 'r');
  const record = (): string => readFileSync(join(one.folder, 'backing.log'), 'utf8');
  t.match(record(), /^\d+ \d+ \d+$/m);
  const engine = await one.engine();
  process.kill(engine, 'SIGKILL');
  const got = Buffer.alloc(11);
  readSync(first, got, 0, 11, 2 ** 20 * 11);
  t.equal(readSync(first, got, 0, 11, 11), 11, 'with no engine at all');
  t.equal(got.toString(), 'abcdefghijk');
  const third = openSync(one.path('file'), 'r');
  t.equal(readSync(third, got, 0, 11, 22), 11, 'opened in the next life');
  t.equal(counts(t, one)['read'], undefined);
  for (const fd of [first, second, third]) closeSync(fd);
  await until('its number to be given back', async () => counts(t, one)['release'] === 3);
  const again = openSync(one.path('file'), 'r');
  t.equal(readSync(again, got, 0, 11, 0), 11);
  closeSync(again);
});
