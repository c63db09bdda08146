import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { drainEngine, EngineAway, endEngine, engineStatus } from '../../../../volume-plugin/engine/control-client.ts';
import { type Controlled, FolderTaken, serveControl } from '../../../../volume-plugin/engine/control-server.ts';
import { type Left, lineReader, readEngineOptions } from '../../../../volume-plugin/engine/wire.ts';
import { context, scratch } from '../block/scratch.ts';

const engine = (more: Partial<Controlled> = {}): Controlled => ({
  status: () => ({ cacheBytes: 7 }),
  drain: async () => undefined,
  end: () => undefined,
  ...more,
});

t.test('the driver asks an engine how it is, and follows how it writes out', async (t) => {
  // Longer than a socket's path may be.
  const folder = join(scratch(t), 'x'.repeat(120));
  mkdirSync(folder);
  const steps: Left[] = [
    { bytes: 9, files: 2 },
    { bytes: 4, files: 1 },
  ];
  const server = await serveControl(folder, engine({ drain: async (left) => steps.forEach(left) }));
  t.teardown(() => server.close());
  t.same(await engineStatus(folder, context()), { cacheBytes: 7 });
  const told: Left[] = [];
  await drainEngine(folder, (left) => told.push(left), context());
  t.same(told, steps);
});

t.test('what an engine cannot do is said, and one that dies has not answered', async (t) => {
  const folder = scratch(t);
  const server = await serveControl(
    folder,
    engine({ drain: () => Promise.reject(new Error('the bucket is gone')), end: () => void server.close() }),
  );
  await t.rejects(
    drainEngine(folder, () => undefined, context()),
    { message: 'the bucket is gone' },
  );
  await endEngine(folder, context());
  await t.rejects(engineStatus(folder, context()), EngineAway, 'nobody listens any more');
  await t.rejects(engineStatus(join(folder, 'nowhere'), context()), EngineAway);
  const stuck = await serveControl(folder, engine({ drain: () => new Promise(() => undefined) }));
  const draining = drainEngine(folder, () => undefined, context());
  setTimeout(() => void stuck.close(), 20);
  await t.rejects(draining, EngineAway);
});

t.test('a folder has one engine at a time; a socket that one has left is no engine', async (t) => {
  const folder = scratch(t);
  const first = await serveControl(folder, engine());
  await t.rejects(serveControl(folder, engine()), FolderTaken);
  await first.close();
  const second = await serveControl(folder, engine());
  t.teardown(() => second.close());
  t.same(await engineStatus(folder, context()), { cacheBytes: 7 });
});

t.test('lines come in any pieces; options of another version are refused', async (t) => {
  const lines: string[] = [];
  const read = lineReader((line) => lines.push(line));
  for (const piece of ['{"a"', ':1}\n{', '"b":2}\n\n', '{"c":3}']) read(piece);
  t.same(lines, ['{"a":1}', '{"b":2}']);
  t.throws(() => readEngineOptions('{"format":2}'), /another version/);
  t.throws(() => readEngineOptions('{"format":1,"volume":"a","prefix":"a"}'), /damaged/);
});
