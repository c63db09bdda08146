import { Coalescer } from '../../shared/coalesce.ts';
import { type Context, newContext, noLongerThan, now } from '../../shared/context.ts';
import { asPluginError, type ErrorCode, PluginError } from '../../shared/errors.ts';
import type { MountedShare, MountWish, ShareHealth, ShareMounts } from '../nfs/mounted-share.ts';
import type { Share } from '../nfs/share.ts';
import type { ShareNotes } from '../nfs/share-notes.ts';
import type { ShareProvider } from '../nfs/share-provider.ts';

/** For a mount target that is made. */
const LOCATE_MS = 5 * 60_000;
/** Shares that every host looks at are asked for again after so long. */
const USUAL_MS = 10 * 60_000;

const USUAL_WISH: MountWish = { options: {}, readonly: false };

/** What may have another reason than the server: the way to it has changed. */
const ASK_AGAIN: readonly ErrorCode[] = ['SHARE_MISSING', 'SHARE_SILENT', 'SHARE_UNREACHABLE', 'SHARE_UNRESOLVED'];

export interface SharesParts {
  readonly provider: ShareProvider;
  readonly mounts: ShareMounts;
  readonly notes: ShareNotes;
  /** Ends with the plugin. */
  readonly life: Context;
}

export interface KnownShares {
  readonly usual: readonly string[];
  readonly named: readonly string[];
  /** Why the usual ones are not known. */
  readonly failure?: PluginError;
}

/** The shares that volumes are or may be on, and how this host gets at them. */
export class NfsShares {
  readonly #parts: SharesParts;
  readonly #located = new Map<string, Share>();
  readonly #locating = new Coalescer<Share>();
  readonly #asking = new Set<string>();
  /** How shares were mounted the last time. */
  readonly #wishes = new Map<string, MountWish>();
  readonly #mounted = new Map<string, MountedShare>();
  #started = false;
  #known: readonly string[] = [];
  #asked = 0;

  constructor(parts: SharesParts) {
    this.#parts = parts;
  }

  /** It is known who this host is. */
  start(): void {
    this.#started = true;
  }

  /** Those that every host of the cluster looks at, and those that volumes have named here. */
  async all(c: Context): Promise<KnownShares> {
    const noted = this.#parts.notes.all().map(({ share }) => share);
    try {
      const usual = await this.#usual(c);
      return { usual, named: noted.filter((share) => !usual.includes(share)) };
    } catch (error) {
      return { usual: [], named: noted, failure: asPluginError(error) };
    }
  }

  /** Once there are some, they stay: a cloud is not asked for each name that Docker wants to know. */
  async #usual(c: Context): Promise<readonly string[]> {
    if (this.#known.length === 0 || now() - this.#asked > USUAL_MS) {
      try {
        this.#known = await this.#parts.provider.usual(c);
        this.#asked = now();
      } catch (error) {
        if (this.#known.length === 0) throw error;
        c.log.debug('the usual shares are as they were', { error: asPluginError(error) });
      }
    }
    return this.#known;
  }

  /**
   * How this host reaches a share. It is made reachable for as long as that takes, also when whoever asked cannot wait any
   * more. Errors: those of `ShareProvider.locate`; STILL_WORKING, with what takes so long, in the place of DEADLINE.
   */
  async locate(text: string, c: Context): Promise<Share> {
    const known = this.#located.get(text);
    if (known !== undefined) return known;
    if (!this.#started) throw new PluginError('NOT_READY', { reason: 'volumes of type nfs are not ready yet' });
    const work = this.#locating.run(text, async () => {
      this.#asking.add(text);
      try {
        const share = await this.#parts.provider.locate(text, newContext(c.log, LOCATE_MS, this.#parts.life));
        this.#located.set(text, share);
        this.#located.set(share.id, share);
        return share;
      } finally {
        this.#asking.delete(text);
      }
    });
    try {
      return await noLongerThan(c, work);
    } catch (error) {
      const { code, context } = asPluginError(error);
      const reason = code === 'DEADLINE' ? this.#parts.provider.progress?.(text) : undefined;
      if (reason === undefined) throw error;
      const what = `to reach share ${text}`;
      throw new PluginError('STILL_WORKING', { what, seconds: context.seconds, reason }, { cause: error });
    }
  }

  /** Mounts a share, as wished for or else as it was the last time. Errors: those of `locate` and `ShareMounts.ensure`. */
  async mount(text: string, wish: MountWish | undefined, c: Context): Promise<MountedShare> {
    const share = await this.locate(text, c);
    const how = wish ?? this.#wishFor(share.id);
    try {
      const mounted = await this.#parts.mounts.ensure(share, how, c);
      this.#wishes.set(share.id, how);
      this.#mounted.set(keyOf(share.id, how), mounted);
      return mounted;
    } catch (error) {
      if (ASK_AGAIN.includes(asPluginError(error).code)) {
        this.#located.delete(text);
        this.#located.delete(share.id);
      }
      throw error;
    }
  }

  #wishFor(share: string): MountWish {
    return this.#wishes.get(share) ?? this.#parts.notes.get(share)?.wish ?? USUAL_WISH;
  }

  /** Mounts a share as it was the last time: for what is done with the records on it. Errors: as `mount`. */
  async look(text: string, c: Context): Promise<MountedShare> {
    try {
      return await this.mount(text, undefined, c);
    } catch (error) {
      // What one volume has asked for may not go any more, such as a version.
      const { id } = await this.locate(text, c);
      const isUsual = JSON.stringify(this.#wishFor(id)) === JSON.stringify(USUAL_WISH);
      if (isUsual || asPluginError(error).retry === 'backoff') throw error;
      return await this.mount(text, USUAL_WISH, c);
    }
  }

  /** No volume of this host needs it any more, as far as one is concerned. */
  release(text: string): void {
    this.#parts.mounts.release(this.#located.get(text)?.id ?? text);
  }

  health(text: string): ShareHealth | undefined {
    return this.#parts.mounts.health(this.#located.get(text)?.id ?? text);
  }

  /** What was agreed on when it was mounted in this life; no I/O. */
  known(text: string, wish: MountWish): MountedShare | undefined {
    return this.#mounted.get(keyOf(this.#located.get(text)?.id ?? text, wish));
  }

  /** What this host is at before it can reach shares, in words; undefined: nothing. */
  progress(): string | undefined {
    for (const text of this.#asking) {
      const found = this.#parts.provider.progress?.(text);
      if (found !== undefined) return found;
    }
    return undefined;
  }
}

const keyOf = (share: string, wish: MountWish): string => JSON.stringify([share, wish]);
