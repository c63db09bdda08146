import { type Context, newContext } from '../../shared/context.ts';
import { asPluginError, type PluginError } from '../../shared/errors.ts';
import type { MountedShare } from '../nfs/mounted-share.ts';
import { readRecord, readRecords, type ShareRecord } from '../nfs/records.ts';
import type { ShareNotes } from '../nfs/share-notes.ts';
import type { ListedVolume } from './backend.ts';
import type { NfsShares } from './nfs-shares.ts';

/** For all volumes of one share; others are not held up for longer. */
const READ_MS = 20_000;

/** What a share has, or why that is not known. */
interface Look<T> {
  readonly share: string;
  /** Every host of the cluster looks at it. */
  readonly isUsual: boolean;
  readonly found?: T;
  readonly failure?: PluginError;
}

export const listedVolume = (share: string, record: ShareRecord): ListedVolume => {
  const { name, options, created, uuid, damage, onRemove } = record;
  const handle = { share, uuid, ...(onRemove !== undefined && { onRemove }) };
  return { name, options, created, handle, whereabouts: damage ?? 'available' };
};

/**
 * Finds the cluster's volumes on the shares. Every host looks at the usual ones; a share that only volumes have named is
 * looked at by the hosts on which they did.
 */
export class NfsListing {
  readonly #shares: NfsShares;
  readonly #notes: ShareNotes;

  constructor(shares: NfsShares, notes: ShareNotes) {
    this.#shares = shares;
    this.#notes = notes;
  }

  /**
   * All volumes. Those of a share whose server does not answer are as they were when it did the last time; one that this
   * host has never read is an error. Of two volumes of one name the one of the first share counts. `onLook` is told of
   * each share that was read.
   */
  async list(c: Context, onLook: (mounted: MountedShare) => void): Promise<readonly ListedVolume[]> {
    const looks = await this.#each(c, async (share, inner, isUsual) => {
      const mounted = await this.#shares.look(share, inner);
      const records = await readRecords(mounted.files, inner);
      await this.#remember(share, records, isUsual);
      onLook(mounted);
      return records;
    });
    const volumes = new Map<string, ListedVolume>();
    for (const { share, found, failure } of looks) {
      const note = this.#notes.get(share);
      if (found === undefined && note === undefined && failure !== undefined) throw failure;
      for (const record of [...(found ?? note?.records ?? []), ...(note?.local ?? [])]) {
        const other = volumes.get(record.name);
        if (other === undefined) volumes.set(record.name, listedVolume(share, record));
        // One share by two names is one share.
        else if (other.handle['share'] !== share && other.handle['uuid'] !== record.uuid) {
          const shares = [other.handle['share'], share];
          c.log.warn('two shares have a volume of one name; the first one counts', { volume: record.name, shares });
        }
      }
    }
    return [...volumes.values()];
  }

  /**
   * One volume. Undefined: no usual share has it, and no share that volumes have named here is known to have had it.
   * Errors: why a usual share, or one that had it, cannot be asked.
   */
  async find(name: string, c: Context, except?: string): Promise<ListedVolume | undefined> {
    const looks = await this.#each(
      c,
      async (share, inner) => {
        const { files } = await this.#shares.look(share, inner);
        return (await readRecord(files, name, inner)) ?? this.#localOf(share, name) ?? null;
      },
      except,
    );
    for (const { share, found } of looks) if (found !== undefined && found !== null) return listedVolume(share, found);
    for (const { share, isUsual, failure } of looks) {
      if (failure === undefined) continue;
      const had = this.#notes.get(share)?.records.find((one) => one.name === name) ?? this.#localOf(share, name);
      if (had !== undefined) return listedVolume(share, had);
      if (isUsual) throw failure;
    }
    return undefined;
  }

  #localOf(share: string, name: string): ShareRecord | undefined {
    return this.#notes.get(share)?.local.find((one) => one.name === name);
  }

  async #each<T>(
    c: Context,
    work: (share: string, c: Context, isUsual: boolean) => Promise<T>,
    except?: string,
  ): Promise<readonly Look<T>[]> {
    const { usual, named, failure: unknown } = await this.#shares.all(c);
    const wanted = [...usual, ...named].filter((share) => share !== except);
    const inner = newContext(c.log, READ_MS, c);
    const looks = await Promise.all(
      wanted.map(async (share): Promise<Look<T>> => {
        const isUsual = usual.includes(share);
        try {
          return { share, isUsual, found: await work(share, inner, isUsual) };
        } catch (thrown) {
          const failure = asPluginError(thrown);
          c.log.debug('a share could not be looked at', { share, error: failure });
          return { share, isUsual, failure };
        }
      }),
    );
    return unknown === undefined ? looks : [...looks, { share: '', isUsual: true, failure: unknown }];
  }

  /** For when the server does not answer, and, of shares that only volumes name, for the next start. */
  async #remember(share: string, records: readonly ShareRecord[], isUsual: boolean): Promise<void> {
    const local = this.#notes.get(share)?.local ?? [];
    if (isUsual || records.length > 0 || local.length > 0) {
      await this.#notes.change(share, { records });
      return;
    }
    await this.#notes.forget(share);
    this.#shares.release(share);
  }
}
