/**
 * A process that writes to a FileStore, for file-store.test.ts: `file-store-fixture.ts MODE FOLDER
 * [COMPACT-AFTER]`.
 *
 * `write`: updates until it is killed; says `N` when update N outlives it. Every update writes two records that belong
 * together. `full`: mounts a small file system on FOLDER (in a mount namespace of its own, which the test makes), fills
 * it, and goes on after room was made. `hold`: opens the store and waits.
 */
import { execFileSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PluginError } from '../../../../shared/errors.ts';
import { silentLogger } from '../../../../shared/log.ts';
import { FileStore } from '../../../../shared/state/file-store.ts';
import type { Lasting } from '../../../../shared/state/store.ts';

interface State {
  readonly left: { readonly n: number; readonly padding: string };
  readonly right: { readonly n: number };
}

const [mode = '', folder = '', compactAfter = '1000000'] = process.argv.slice(2);
const say = (text: unknown): void => {
  process.stdout.write(`${String(text)}\n`);
};
const open = (): Promise<FileStore<State>> =>
  FileStore.open<State>(join(folder, 'state'), {
    version: 1,
    collections: ['left', 'right'],
    log: silentLogger,
    compactAfter: Number(compactAfter),
  });
const put = (store: FileStore<State>, n: number, bytes = 200, lasting: Lasting = 'disk'): Promise<void> =>
  store.update((tx) => {
    tx.put('left', `k${n % 10}`, { n, padding: 'x'.repeat(bytes) });
    tx.put('right', `k${n % 10}`, { n });
  }, lasting);

if (mode === 'write') {
  const store = await open();
  let n = Math.max(0, ...[...store.all('right').values()].map((record) => record.n));
  say('open');
  for (;;) {
    const batch = Array.from({ length: 1 + (n % 4) }, () => {
      n += 1;
      return n;
    });
    await Promise.all(
      batch.map(async (one) => {
        await put(store, one, 200, one % 3 === 0 ? 'disk' : 'kernel');
        say(one);
      }),
    );
  }
}

if (mode === 'hold') {
  await open();
  say('open');
  setInterval(() => undefined, 1_000);
}

if (mode === 'full') {
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=128k', 'none', folder]);
  writeFileSync(join(folder, 'filler'), Buffer.alloc(48 << 10));
  const store = await open();
  let durable = 0;
  let refused: unknown;
  while (refused === undefined && durable < 1_000) {
    try {
      await put(store, durable + 1, 2_000);
      durable += 1;
    } catch (error) {
      refused = error;
    }
  }
  say(refused instanceof PluginError ? refused.toUserText() : refused);
  const inMemory = (): number => Math.max(...[...store.all('left').values()].map((record) => record.n));
  say(`memory ${inMemory() === durable}`);
  // Several at once, on a disk that is still full: all are refused and taken back.
  const several = await Promise.allSettled([1, 2, 3].map((i) => put(store, durable + i, 8_000)));
  say(`refused ${several.every(({ status }) => status === 'rejected')} memory ${inMemory() === durable}`);
  rmSync(join(folder, 'filler'));
  await put(store, durable + 1, 2_000);
  say(`again ${inMemory() === durable + 1}`);
  await store.close();
  const reopened = await open();
  const read = [...reopened.all('left').values()].map((record) => record.n);
  say(`read ${Math.max(...read) === durable + 1} ${read.length === new Set(read).size}`);
  await reopened.close();
}
