import { inStorageWords } from '../../shared/cloud/backend-errors.ts';
import { type Context, newContext, now, throwIfDone } from '../../shared/context.ts';
import { asPluginError, type ErrorCode, PluginError } from '../../shared/errors.ts';
import { KeyedMutex } from '../../shared/keyed-mutex.ts';
import { EfsMaking } from './efs-making.ts';
import { checkEfsSetting, type EfsName, efsNameIn } from './efs-names.ts';
import { EfsPlace, type EfsPlaceOptions } from './efs-place.ts';
import { EfsReaching, type Reached } from './efs-reaching.ts';
import type { Share } from './share.ts';
import type { ShareProvider, ShareRequest } from './share-provider.ts';
import { parseShare } from './share-text.ts';
import { serverTraits } from './vendors.ts';

export interface EfsOptions extends EfsPlaceOptions {
  /** The setting CLUSTER. */
  readonly cluster: string;
  /** The setting NFS_SHARE; when it is empty, a file system is made for the cluster. */
  readonly shares: readonly string[];
  /** How long an address is good without being asked for again, in milliseconds. */
  readonly freshMs?: number;
  /** How long is looked for a file system before it counts as missing, in milliseconds. */
  readonly missingMs?: number;
}

/** Mount targets stay for as long as their file systems. */
const FRESH_MS = 60_000;
/** How long the cloud is asked when an older answer is there. */
const REFRESH_MS = 3_000;
const API_IS_AWAY: readonly ErrorCode[] = ['PROVIDER_UNREACHABLE', 'PROVIDER_THROTTLED', 'DEADLINE'];
/** EFS does not say how late its answers are; whoever mistypes should not wait for long. */
const MISSING_MS = 2_000;

/**
 * File systems of EFS: one for the cluster, made when it is first needed, and others by their ids. Exports of other
 * servers can be named, too.
 */
export class EfsProvider implements ShareProvider {
  readonly name = 'efs';
  readonly #options: EfsOptions;
  readonly #place: EfsPlace;
  readonly #making: EfsMaking;
  readonly #reaching: EfsReaching;
  /** By file system. */
  readonly #turns = new KeyedMutex();
  readonly #reached = new Map<string, { readonly how: Reached; readonly at: number }>();

  /** Throws SETTING_INVALID. */
  constructor(options: EfsOptions) {
    checkEfsSetting(options.shares);
    this.#options = options;
    this.#place = new EfsPlace(options);
    this.#making = new EfsMaking(this.#place, options.cluster);
    this.#reaching = new EfsReaching(this.#place, this.#making, options.missingMs ?? MISSING_MS);
  }

  start(c: Context): Promise<void> {
    return told(this.#place.find(c));
  }

  async usual(c: Context): Promise<readonly string[]> {
    if (this.#options.shares.length > 0) return [...new Set(this.#options.shares.map((text) => this.#idOf(text)))];
    const made = await told(this.#making.find(c));
    return made === undefined ? [] : [idOf({ fileSystem: made, path: '/' })];
  }

  async ensure(request: ShareRequest, c: Context): Promise<string> {
    const [first] = this.#options.shares;
    if (first !== undefined) return this.#idOf(first);
    const made = await told(this.#turns.run('', () => this.#making.ensure(request, c), c));
    return idOf({ fileSystem: made, path: '/' });
  }

  async locate(text: string, c: Context): Promise<Share> {
    const name = efsNameIn(text, this.#place.self.region);
    if (name === undefined) return parseShare(text);
    const { fileSystem, path } = name;
    const { address } = await told(this.#reach(fileSystem, c));
    const { region } = this.#place.self;
    return {
      ...{ id: idOf(name), server: address, path },
      ...serverTraits(`${fileSystem}.efs.${region}.amazonaws.com`),
    };
  }

  progress(text: string): string | undefined {
    const name = efsNameIn(text, this.#place.self.region);
    return name === undefined ? undefined : this.#reaching.progress(name.fileSystem);
  }

  async close(): Promise<void> {
    this.#place.close();
  }

  #idOf(text: string): string {
    const name = efsNameIn(text, this.#place.self.region);
    return name === undefined ? parseShare(text).id : idOf(name);
  }

  async #reach(fileSystem: string, c: Context): Promise<Reached> {
    const { freshMs = FRESH_MS } = this.#options;
    const known = this.#reached.get(fileSystem);
    if (known === undefined) return await this.#reachAnew(fileSystem, undefined, c);
    if (now() - known.at < freshMs) return known.how;
    try {
      return await this.#reachAnew(fileSystem, known.at, newContext(c.log, REFRESH_MS, c));
    } catch (error) {
      throwIfDone(c);
      const { code } = asPluginError(error);
      // It is being made anew: worth waiting for.
      if (code === 'STILL_WORKING') return await this.#reachAnew(fileSystem, known.at, c);
      if (!API_IS_AWAY.includes(code)) throw error;
      c.log.warn('a file system is reached as it was before', { fileSystem, error: asPluginError(error) });
      return known.how;
    }
  }

  /** `known`: since when there is an answer that is too old. */
  async #reachAnew(fileSystem: string, known: number | undefined, c: Context): Promise<Reached> {
    const work = async (): Promise<Reached> => {
      // Whoever was in front may have found it.
      const since = this.#reached.get(fileSystem);
      if (since !== undefined && since.at !== known) return since.how;
      const how = await this.#reaching.reach(fileSystem, c);
      this.#reached.set(fileSystem, { how, at: now() });
      return how;
    };
    try {
      return await this.#turns.run(fileSystem, work, c);
    } catch (error) {
      // Who waited for another call to be done with it.
      const { code, context } = asPluginError(error);
      const reason = code === 'DEADLINE' ? this.#reaching.progress(fileSystem) : undefined;
      if (reason === undefined) throw error;
      const what = `to reach file system ${fileSystem}`;
      throw new PluginError('STILL_WORKING', { what, seconds: context.seconds, reason }, { cause: error });
    }
  }
}

const idOf = ({ fileSystem, path }: EfsName): string => `${fileSystem}:${path}`;

/** Errors of the cloud's client in the words of storage. */
const told = <T>(work: Promise<T>): Promise<T> => inStorageWords(work, 'efs', 'aws');
