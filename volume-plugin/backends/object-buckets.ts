import { X509Certificate } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { type Context, newContext, noLongerThan } from '../../shared/context.ts';
import { codeOf } from '../../shared/error-code.ts';
import { PluginError } from '../../shared/errors.ts';
import type { ShareNotes } from '../nfs/share-notes.ts';
import type { StoreDescription } from '../object/description.ts';
import type { ObjectStore } from '../object/store.ts';
import {
  type Bucket,
  type BucketSettings,
  bucketId,
  describeBucket,
  readBucket,
  type StoreWishes,
  usualBuckets,
} from './object-bucket.ts';
import { BucketFiles } from './object-files.ts';

/** A bucket, and how it is reached. */
export interface OpenBucket {
  readonly id: string;
  readonly bucket: Bucket;
  readonly store: ObjectStore;
  readonly files: BucketFiles;
}

/** How stores are opened: volume-plugin/object/registry.ts. */
export interface Stores {
  /** Throws StoreError when it cannot be described so. */
  readonly open: (description: StoreDescription) => ObjectStore;
  /** The same description with what is found out about this host. Errors: why that is not known. */
  readonly complete: (description: StoreDescription, c: Context) => Promise<StoreDescription>;
}

export interface BucketsParts {
  readonly settings: BucketSettings;
  readonly stores: Stores;
  readonly notes: ShareNotes;
}

interface Opening {
  readonly bucket: Promise<OpenBucket>;
  /** Changes when the file of the certificates does. */
  readonly certificates: string;
}

/** For the region of this host. */
const OPEN_MS = 5_000;

/** The buckets that volumes are or may be in. */
export class ObjectBuckets {
  readonly #parts: BucketsParts;
  readonly #open = new Map<string, Opening>();

  constructor(parts: BucketsParts) {
    this.#parts = parts;
  }

  /** Those that every host of the cluster looks at, and those that volumes have named here. Errors: SETTING_INVALID. */
  all(): { readonly usual: readonly string[]; readonly named: readonly string[] } {
    const usual = usualBuckets(this.#parts.settings).map(bucketId);
    const named = this.#parts.notes.all().map(({ share }) => share);
    return { usual, named: named.filter((id) => !usual.includes(id)) };
  }

  /** Buckets that were looked at once, and in which there are no volumes that anybody here has named, are looked at no more. */
  async forgetEmpty(): Promise<void> {
    const { notes } = this.#parts;
    for (const id of this.all().named) {
      const { records = [], local = [] } = notes.get(id) ?? {};
      if (records.length === 0 && local.length === 0) await notes.forget(id);
    }
  }

  /** The bucket of volumes that name none; undefined: they must. Errors: SETTING_INVALID. */
  usual(): Bucket | undefined {
    return usualBuckets(this.#parts.settings)[0];
  }

  get settings(): BucketSettings {
    return this.#parts.settings;
  }

  /** Nothing is asked of it. Errors: OPTION_INVALID, SETTING_INVALID, BUCKET_REFUSED; why this host's region is not known. */
  async open(id: string, c: Context): Promise<OpenBucket> {
    const { settings } = this.#parts;
    const certificates = await stampOf(readBucket(id, settings).ca ?? settings.objectCa);
    const known = this.#open.get(id);
    // Connections of the one before end by themselves when nobody uses them.
    if (known !== undefined && known.certificates === certificates) return await noLongerThan(c, known.bucket);
    // Whoever joins may have more time.
    const opening: Opening = { bucket: this.#openNew(id, newContext(c.log, OPEN_MS)), certificates };
    this.#open.set(id, opening);
    opening.bucket.catch(() => {
      if (this.#open.get(id) === opening) this.#open.delete(id);
    });
    return await noLongerThan(c, opening.bucket);
  }

  /** What an engine opens it by. Errors: as `open`. */
  async describe(id: string, wishes: StoreWishes, c: Context): Promise<StoreDescription> {
    const { settings } = this.#parts;
    const bucket = readBucket(id, settings);
    const pem = await pemOf(bucket.ca, settings.objectCa);
    return await this.#parts.stores.complete(describeBucket(bucket, settings, pem, wishes), c);
  }

  async close(): Promise<void> {
    const open = await Promise.allSettled([...this.#open.values()].map(({ bucket }) => bucket));
    await Promise.all(open.map((one) => (one.status === 'fulfilled' ? one.value.store.close() : undefined)));
  }

  async #openNew(id: string, c: Context): Promise<OpenBucket> {
    const description = await this.describe(id, {}, c);
    const bucket = readBucket(id, this.#parts.settings);
    try {
      const store = this.#parts.stores.open(description);
      return { id, bucket, store, files: new BucketFiles(store) };
    } catch (error) {
      if (!(error instanceof Error) || error instanceof PluginError) throw error;
      const what = 'to be opened as it is described';
      throw new PluginError(
        'BUCKET_REFUSED',
        { bucket: `${bucket.kind}://${bucket.name}`, what, reason: error.message },
        { cause: error },
      );
    }
  }
}

const stampOf = async (path: string | undefined): Promise<string> => {
  if (path === undefined) return '';
  try {
    const { ino, size, mtimeMs } = await stat(path);
    return `${ino} ${size} ${mtimeMs}`;
  } catch {
    // Whoever reads it says why.
    return 'none';
  }
};

/** The text of the certificates that a bucket or the setting OBJECT_CA names. Errors: OPTION_INVALID, SETTING_INVALID. */
const pemOf = async (own: string | undefined, usual: string | undefined): Promise<string | undefined> => {
  const path = own ?? usual;
  if (path === undefined) return undefined;
  const invalid = (reason: string, cause: unknown): PluginError => {
    const allowed = 'a file of certificates in PEM form, below /var/lib/drayage';
    const context = { value: path, reason, allowed };
    return own === undefined
      ? new PluginError('SETTING_INVALID', { ...context, option: 'OBJECT_CA' }, { cause })
      : new PluginError('OPTION_INVALID', { ...context, where: 'The volume option', option: 'ca' }, { cause });
  };
  const pem = await readFile(path, 'utf8').catch((error: unknown) => {
    const code = codeOf(error) ?? 'unknown';
    throw invalid(code === 'ENOENT' ? 'there is no such file' : `it cannot be read (${code})`, error);
  });
  try {
    new X509Certificate(pem);
  } catch (error) {
    throw invalid('it has no certificates in PEM form', error);
  }
  return pem;
};
