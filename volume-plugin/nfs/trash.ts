import { Coalescer } from '../../shared/coalesce.ts';
import { type Context, newContext, now } from '../../shared/context.ts';
import { asPluginError } from '../../shared/errors.ts';
import { TRASH } from './records.ts';
import type { ShareFiles } from './share-files.ts';

/** For one folder at a time; what is not done by then goes on with the next round. */
const ROUND_MS = 10 * 60_000;
/** A folder that another host has taken is left to it for so long, in milliseconds of this host's clock. */
const OTHERS_MS = 15 * 60_000;
/** Between what a folder in the trash is called and the host that empties it. */
const SEPARATOR = '~';

/**
 * Empties what removed volumes have left on shares, in the background, one host a folder. What a host was at when it died
 * is emptied by another one after a while; that two are at the same one does no harm.
 */
export class Trash {
  readonly #host: string;
  readonly #rounds = new Coalescer<void>();
  /** When a folder of another host's was seen first. */
  readonly #seen = new Map<string, number>();

  constructor(host: string) {
    this.#host = host;
  }

  /** Begins to empty the trash of a share, unless that is under way; answers at once. Ends with `life`. */
  empty(share: string, files: ShareFiles, life: Context): void {
    void this.#rounds
      .run(share, () => this.#round(share, files, life))
      .catch((error: unknown) => {
        if (!life.signal.aborted) {
          life.log.warn('the trash of a share could not be emptied yet', { share, error: asPluginError(error) });
        }
      });
  }

  /** Waits for what is under way. */
  settled(): Promise<void> {
    return this.#rounds.settled();
  }

  async #round(share: string, files: ShareFiles, life: Context): Promise<void> {
    const c = newContext(life.log, ROUND_MS, life);
    const found = await files.names(TRASH, c);
    for (const key of this.#seen.keys()) {
      const [of, name] = key.split('\n');
      if (of === share && !found.includes(name ?? '')) this.#seen.delete(key);
    }
    for (const name of found) {
      const mine = await this.#take(share, files, name, c);
      if (mine === undefined) continue;
      await files.removeTree(`${TRASH}/${mine}`, c);
      life.log.info('what a removed volume had is gone', { share, folder: mine });
    }
  }

  /** What it is called when this host empties it; undefined: another one does. */
  async #take(share: string, files: ShareFiles, name: string, c: Context): Promise<string | undefined> {
    const [plain = '', host] = name.split(SEPARATOR);
    if (host === this.#host) return name;
    const key = `${share}\n${name}`;
    if (host !== undefined) {
      const since = this.#seen.get(key) ?? now();
      this.#seen.set(key, since);
      if (now() - since < OTHERS_MS) return undefined;
    }
    this.#seen.delete(key);
    const mine = `${plain}${SEPARATOR}${this.#host}`;
    return (await files.move(`${TRASH}/${name}`, `${TRASH}/${mine}`, c)) ? mine : undefined;
  }
}
