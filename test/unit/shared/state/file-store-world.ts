import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { silentLogger } from '../../../../shared/log.ts';
import { FileStore, type FileStoreOptions } from '../../../../shared/state/file-store.ts';

/** Stores in folders of a test's own. */

export interface State {
  readonly networks: { readonly id: string; readonly note?: string };
  readonly endpoints: { readonly id: string };
}

export const makeFolder = async (t: Test): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), 'drt-store-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  return folder;
};

export const open = (folder: string, options: Partial<FileStoreOptions<State>> = {}): Promise<FileStore<State>> =>
  FileStore.open<State>(join(folder, 'state'), {
    version: 1,
    collections: ['networks', 'endpoints'],
    log: silentLogger,
    ...options,
  });

export const put = (store: FileStore<State>, id: string, note = 'x'): Promise<void> =>
  store.update((tx) => tx.put('networks', id, { id, note }));

export const ids = (store: FileStore<State>): string[] => [...store.all('networks').keys()];

/** A store with networks a, b and c in its journal, closed. */
export const prepared = async (t: Test): Promise<{ folder: string; snapshot: string; journal: string }> => {
  const folder = await makeFolder(t);
  const store = await open(folder);
  for (const id of ['a', 'b', 'c']) await put(store, id);
  await store.close();
  return { folder, snapshot: join(folder, 'state', 'snapshot.json'), journal: join(folder, 'state', 'journal.jsonl') };
};
