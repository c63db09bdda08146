import { createHash } from 'node:crypto';
import type { Test } from 'tap';
import { type Context, newContext } from '../../shared/context.ts';
import { silentLogger } from '../../shared/log.ts';
import { type ObjectStore, StoreError } from '../../volume-plugin/object/store.ts';

/** What a server that nobody here wrote may lack, by the conformance's name for it. */
export type Gap =
  | 'byte-order' // lists in another order
  | 'ranges' // has its own idea of ranges that begin with one byte or end beyond the end
  | 'whole' // readers see mixtures
  | 'slashes' // cannot keep `a//b`, or `a` beside `a/b`
  | 'leading-slash' // has no keys that begin with one
  | 'long-keys' // of 1024 bytes
  | 'copy-keys' // copies of keys with other characters
  | 'web' // keeps no Cache-Control and the like
  | 'unfinished' // does not list uploads
  | 'part-checks' // completes with parts that are not there
  | 'abort' // does not give up uploads
  | 'begun' // does not tell when an upload was begun
  | 'unknown-uploads' // has no answer about those that are not there
  | 'complete-match' // completes whatever is there
  | 'copy-part'
  | 'source-conditions' // copies whatever is there
  | 'folders' // leaves out folders of folders, and begins pages of them anew
  | 'delete-bucket'; // removes a bucket with objects in it

export interface StoreWorld {
  /** Its bucket is there, with nothing in it. */
  readonly store: ObjectStore;
  /** The same bucket as another host has it. */
  readonly other: ObjectStore;
  /** One of a bucket that is not there. */
  readonly missing: ObjectStore;
  readonly gaps?: readonly Gap[];
  /** A thousand objects take it long. */
  readonly isSlow?: boolean;
}

/** Everything that was opened is closed by `t.teardown`. */
export type MakeStores = (t: Test) => Promise<StoreWorld>;

/** The rest of this test is left out: the server is not to blame, and the report says so. */
export const lacks = (t: Test, what: string): void => {
  void t.skip(what, {}, async () => undefined);
};

export const context = (ms = 60_000): Context => newContext(silentLogger, ms);

export const text = (...chunks: string[]): Buffer[] => chunks.map((chunk) => Buffer.from(chunk));
export const read = (data: readonly Buffer[]): string => Buffer.concat(data).toString();

/** The failure of a call, or `none`. */
export const failureOf = async (call: Promise<unknown>): Promise<string> => {
  try {
    await call;
    return 'none';
  } catch (error) {
    return error instanceof StoreError ? error.failure : `not a StoreError: ${String(error)}`;
  }
};

/** Bytes that are the same in every run, and different for every seed. */
export const bytesOf = (seed: string, length: number): Buffer => {
  const block = Buffer.concat(
    Array.from({ length: 2048 }, (_, i) => createHash('sha256').update(`${seed} ${i}`).digest()),
  );
  return Buffer.alloc(length, block);
};

/** All pages of a listing, with what pages must be. */
export const listed = async (
  t: Test,
  store: ObjectStore,
  prefix: string,
  options: { readonly delimiter?: '/'; readonly limit?: number; readonly after?: string } = {},
): Promise<{ readonly keys: string[]; readonly prefixes: string[]; readonly pages: number }> => {
  const keys: string[] = [];
  const prefixes: string[] = [];
  let from: string | undefined;
  for (let pages = 1; ; pages += 1) {
    const page = await store.list(prefix, { ...options, ...(from !== undefined && { from }) }, context());
    keys.push(...page.objects.map(({ key }) => key));
    prefixes.push(...page.prefixes);
    const most = options.limit ?? 1000;
    if (page.objects.length + page.prefixes.length > most) t.fail(`a page of more than ${most}`);
    if (page.next === undefined) return { keys, prefixes, pages };
    from = page.next;
  }
};
