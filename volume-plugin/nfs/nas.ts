import { kindOfError } from '../../shared/cloud/aliyun/errors.ts';
import type { FileSystemInfo } from '../../shared/cloud/aliyun/nas-answers.ts';
import { type Context, now, throwIfDone } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { KeyedMutex } from '../../shared/keyed-mutex.ts';
import { soon } from '../../shared/looking.ts';
import { NasClaims } from './nas-claims.ts';
import { NasMaking } from './nas-making.ts';
import { checkNasSetting, type NasName, nasNameIn, rootOf, shareIdOf } from './nas-names.ts';
import { NasPlace, type PlaceOptions } from './nas-place.ts';
import { missing, NAME, refused, told } from './nas-refusals.ts';
import { NasTargets } from './nas-targets.ts';
import type { Share } from './share.ts';
import type { ShareProvider, ShareRequest } from './share-provider.ts';
import { parseShare } from './share-text.ts';
import { serverTraits } from './vendors.ts';

export interface NasOptions extends PlaceOptions {
  /** The setting CLUSTER. */
  readonly cluster: string;
  /** The setting NFS_SHARE; none: a file system is made for the cluster. */
  readonly shares: readonly string[];
  /** Instead of the usual, for tests; milliseconds. */
  readonly waits?: {
    readonly settleMs?: number;
    readonly appearMs?: number;
    readonly staleMs?: number;
    readonly freshMs?: number;
    readonly missingMs?: number;
  };
}

/** For how long the way to a share is not asked for anew, in milliseconds. */
const FRESH_MS = 60_000;
/** How long a folder that was made over NFS may take to be known to the API. */
const FOLDER_MS = 5_000;
/** NAS does not say how late its answers are; whoever mistypes should not wait for long. */
const MISSING_MS = 2_000;
/** Levels of folders at which NAS takes quotas. */
const DEEPEST = 8;

/**
 * File systems of Aliyun's NAS, General-purpose and Extreme ones: one for the cluster, made when it is first needed, and
 * others by their ids. Exports of other servers can be named, too.
 */
export class NasProvider implements ShareProvider {
  readonly name = NAME;
  readonly #options: NasOptions;
  readonly #place: NasPlace;
  readonly #making: NasMaking;
  readonly #targets: NasTargets;
  /** By what people type; several volumes of a share ask at once. */
  readonly #locks = new KeyedMutex();
  readonly #located = new Map<string, { readonly share: Share; readonly at: number }>();
  readonly #under = new Map<string, string>();
  #claims: NasClaims | undefined;

  /** Throws SETTING_INVALID. */
  constructor(options: NasOptions) {
    checkNasSetting(options.shares);
    this.#options = options;
    this.#place = new NasPlace(options);
    const { settleMs, appearMs } = options.waits ?? {};
    const parts = {
      client: () => this.#place.client,
      where: () => this.#place.where,
      claims: () => this.#claim(),
      ...(appearMs !== undefined && { appearMs }),
    };
    this.#targets = new NasTargets(parts);
    this.#making = new NasMaking({ ...parts, cluster: options.cluster, ...(settleMs !== undefined && { settleMs }) });
  }

  start(c: Context): Promise<void> {
    return this.#told(this.#place.find(c));
  }

  async usual(c: Context): Promise<readonly string[]> {
    const { shares } = this.#options;
    if (shares.length > 0) return [...new Set(await Promise.all(shares.map((one) => this.#told(this.#idOf(one, c)))))];
    const made = await this.#told(this.#making.found(c));
    return made === undefined ? [] : [rootOf(made.id)];
  }

  async ensure(request: ShareRequest, c: Context): Promise<string> {
    const [first] = this.#options.shares;
    if (first !== undefined) return await this.#told(this.#idOf(first, c));
    return await this.#locks.run(
      'ensure',
      async () => {
        const { id } = await this.#told(this.#making.ensure(request, c));
        await this.#claim().tidy(c);
        return rootOf(id);
      },
      c,
    );
  }

  async locate(text: string, c: Context): Promise<Share> {
    const name = nasNameIn(text, this.#place.where.region);
    if (name === undefined) return parseShare(text);
    throwIfDone(c);
    return await this.#locks.run(`locate ${text}`, () => this.#locate(text, name, c), c);
  }

  progress(text: string): string | undefined {
    return this.#under.get(text);
  }

  /**
   * Whole GiB; holds after 5 to 15 minutes, as documented, and for what is written after that. Errors: also
   * OPTION_INVALID where file systems have no quotas.
   */
  async limit({ id, path }: Share, folder: string, bytes: number, c: Context): Promise<void> {
    const whole = path === '/' ? folder : `${path}${folder}`;
    const fileSystem = nasNameIn(id, this.#place.where.region)?.id;
    const reason = limitProblem(fileSystem, whole);
    if (reason === undefined) return await this.#told(this.#limit(fileSystem ?? '', whole, bytes, c));
    // What cannot be limited is not.
    if (bytes === 0) return;
    throw new PluginError('OPTION_INVALID', {
      ...{ where: 'The volume option', option: 'size', value: String(bytes), reason, allowed: 'nothing there' },
    });
  }

  async close(): Promise<void> {
    this.#located.clear();
  }

  async #limit(fileSystem: string, folder: string, bytes: number, c: Context): Promise<void> {
    const { client } = this.#place;
    const { appearMs = FOLDER_MS } = this.#options.waits ?? {};
    let cause: unknown;
    const done = await soon(appearMs, c, async () => {
      try {
        if (bytes > 0) await client.setQuota(fileSystem, folder, bytes, c);
        else await client.cancelQuota(fileSystem, folder, c);
        return true;
      } catch (error) {
        if (kindOfError(error) !== 'no-folder') throw error;
        cause = error;
        // What is not there has no limit.
        return bytes === 0 ? true : undefined;
      }
    });
    if (done !== true) throw refused(`to limit ${folder}`, 'it knows no such folder on the file system', cause);
  }

  async #locate(text: string, name: NasName, c: Context): Promise<Share> {
    const { freshMs = FRESH_MS } = this.#options.waits ?? {};
    const known = this.#located.get(text);
    if (known !== undefined && now() - known.at < freshMs) return known.share;
    try {
      const { id } = await this.#told(this.#fileSystem(text, name, c));
      const say = (what: string) => this.#under.set(text, what);
      const server = await this.#told(this.#targets.domain(id, say, c));
      await this.#claim().tidy(c);
      const share = { id: shareIdOf(id, name.path), server, path: name.path, ...serverTraits(server) };
      this.#located.set(text, { share, at: now() });
      return share;
    } catch (error) {
      // The way does not change while nobody can be asked for it.
      const isSilent = error instanceof PluginError && SILENT.has(error.code);
      if (known === undefined || !isSilent) throw error;
      c.log.warn('NAS cannot be asked where a share is; it is looked for where it was', { share: text, error });
      return known.share;
    } finally {
      this.#under.delete(text);
    }
  }

  /** Errors: SHARE_MISSING, OPTION_INVALID for one that cannot be mounted as NFS, PROVIDER_*. */
  async #fileSystem(text: string, { id, domain }: NasName, c: Context): Promise<FileSystemInfo> {
    const { client, where } = this.#place;
    const { missingMs = MISSING_MS } = this.#options.waits ?? {};
    const found = await soon(missingMs, c, async () =>
      id === undefined
        ? (await client.fileSystems({}, c)).find(({ domains }) => domains.includes(domain ?? ''))
        : await client.fileSystem(id, c),
    );
    if (found === undefined) throw missing(text, where.region);
    if (found.protocol === 'NFS') return found;
    throw new PluginError('OPTION_INVALID', {
      ...{ where: 'The volume option', option: 'share', value: text, reason: `it speaks ${found.protocol}` },
      allowed: 'a file system that speaks NFS',
    });
  }

  async #idOf(text: string, c: Context): Promise<string> {
    const name = nasNameIn(text, this.#place.where.region);
    if (name === undefined) return parseShare(text).id;
    return shareIdOf(name.id ?? (await this.#fileSystem(text, name, c)).id, name.path);
  }

  #claim(): NasClaims {
    const { client, where } = this.#place;
    const { staleMs, appearMs } = this.#options.waits ?? {};
    this.#claims ??= new NasClaims({
      ...{ client, instance: where.instance },
      ...(staleMs !== undefined && { staleMs }),
      ...(appearMs !== undefined && { appearMs }),
    });
    return this.#claims;
  }

  #told<T>(work: Promise<T>): Promise<T> {
    return told(() => this.#place.caller, work);
  }
}

const SILENT: ReadonlySet<string> = new Set(['BACKEND_UNREACHABLE', 'BACKEND_THROTTLED']);

/** Why a folder cannot be limited; undefined when it can. `fileSystem`: undefined for another server's. */
const limitProblem = (fileSystem: string | undefined, folder: string): string | undefined => {
  if (fileSystem === undefined) return 'only folders of NAS can be limited';
  if (fileSystem.startsWith('extreme-')) return 'Extreme file systems of NAS limit no folders';
  const depth = folder.split('/').filter((one) => one !== '').length;
  return depth > DEEPEST ? `NAS limits no folders that are more than ${DEEPEST} levels deep` : undefined;
};
