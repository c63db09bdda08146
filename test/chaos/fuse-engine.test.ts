// @timeout 5m
// The engine of a mounted volume is killed again and again under writers, readers and makers of names: nobody gets an error,
// nothing is done twice, and what was written is there. 20 times; 100 times with DRAYAGE_LONG=1.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { MemoryMount } from '../rig/memory-mount.ts';
import { inOwnMounts } from '../unit/volume-plugin/block/scratch.ts';
import type { ClientOutcome } from './support/fuse-client.ts';

inOwnMounts(import.meta.filename);
t.setTimeout(290_000);

const KILLS = process.env['DRAYAGE_LONG'] === undefined ? 20 : 100;
/** An engine that dies again within a second is given time by its keeper: that is another test's. */
const APART_MS = 1_050;
const CLIENT = join(import.meta.dirname, 'support/fuse-client.ts');
const KINDS = ['write', 'write', 'read', 'name', 'name'];

t.test(`an engine that is killed ${KILLS} times: no client gets an error`, async (t) => {
  const one = await MemoryMount.built(t, { validMs: 0 });
  const { keeper } = one;
  const stop = join(one.base, 'stop');
  const clients = KINDS.map((kind, at) => {
    const child = spawn(process.execPath, [CLIENT, kind, one.path(`${kind}-${at}`), stop], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    t.teardown(() => child.kill('SIGKILL'));
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (part: string) => {
      text += part;
    });
    return once(child, 'close').then(() => ({ kind, outcome: JSON.parse(text) as ClientOutcome }));
  });
  await sleep(500);
  const pauses: number[] = [];
  for (let kill = 0; kill < KILLS; kill += 1) {
    process.kill(await one.engine(), 'SIGKILL');
    const began = performance.now();
    // Nobody else knows this name: the next engine answers.
    mkdirSync(one.path(`after-${kill}`));
    pauses.push(performance.now() - began);
    await sleep(Math.max(1, APART_MS - (performance.now() - began)) + ((kill * 37) % 50));
  }
  writeFileSync(stop, '');
  for (const { kind, outcome } of await Promise.all(clients)) {
    t.same(outcome.errors, [], kind);
    t.ok(outcome.operations > KILLS * 5, `${kind}: ${outcome.operations} operations`);
    t.comment(`${kind}: ${outcome.operations} operations, the longest took ${Math.round(outcome.longestMs)} ms`);
  }
  t.equal(one.keeper, keeper, 'the same keeper holds the mount');
  pauses.sort((a, b) => a - b);
  const [middle = 0, longest = 0] = [pauses[pauses.length >> 1], pauses.at(-1)];
  t.comment(`an engine was back after ${Math.round(middle)} ms, at most ${Math.round(longest)} ms`);
  const complaints = readFileSync(one.log, 'utf8')
    .split('\n')
    .filter((line) => line.includes('"level":"error"'));
  t.same(complaints, []);
  await one.unmount();
});
