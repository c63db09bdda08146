import { Coalescer } from '../../shared/coalesce.ts';
import { type Context, newContext, now } from '../../shared/context.ts';
import { asPluginError, type PluginError } from '../../shared/errors.ts';
import { MAKING, OWN_FOLDER, placeFolder, readRecord, TRASH } from './records.ts';
import { REMOVING, settleRemoval } from './removals.ts';
import type { ShareFiles } from './share-files.ts';

/** For one folder at a time; what is not done by then goes on with the next round. */
const ROUND_MS = 10 * 60_000;
/** What another host is at is left to it for so long, in milliseconds of this host's clock. */
const OTHERS_MS = 15 * 60_000;
/** Between what a folder in the trash is called and the host that empties it. */
const SEPARATOR = '~';

/** Tells it from a folder of the same volume that is being made. */
const removal = (name: string): string => `removing ${name}`;

/**
 * Empties what removed volumes, and makings that were given up, have left on shares, in the background, one host a folder.
 * What a host was at when it died is emptied by another one after a while; that two are at the same one does no harm.
 */
export class Trash {
  readonly #host: string;
  readonly #rounds = new Coalescer<void>();
  /** When a folder of another host's was seen first. */
  readonly #seen = new Map<string, number>();
  readonly #now: () => number;

  /** `host`: the id of this one. `clock`: milliseconds, for tests. */
  constructor(host: string, clock: () => number = now) {
    this.#host = host;
    this.#now = clock;
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
    const begun = await files.names(MAKING, c);
    const leaving = await files.names(REMOVING, c);
    const found = [...(await files.names(TRASH, c))];
    this.#forgetOthers(share, [...begun, ...leaving.map(removal), ...found]);
    const failures: PluginError[] = [];
    // One that cannot be done yet, such as for a file that somebody has open, keeps no other.
    const each = async (names: readonly string[], work: (name: string) => Promise<unknown>): Promise<void> => {
      for (const name of names) {
        if (failures.some(({ code }) => code === 'SHARE_SILENT' || code === 'DEADLINE')) return;
        await work(name).catch((error: unknown) => failures.push(asPluginError(error)));
      }
    };
    const isDue = (name: string): boolean => this.#ageOf(share, name) >= OTHERS_MS;
    await each(
      leaving.filter((name) => isDue(removal(name))),
      async (name) => found.push(...(await this.#settle(share, files, name, c))),
    );
    await each(begun.filter(isDue), async (name) => found.push(...(await this.#giveUp(share, files, name, c))));
    await each(found, (name) => this.#emptyOne(share, files, name, c));
    if (failures[0] !== undefined) throw failures[0];
  }

  /** Whoever was removing it has died over it: answers what is in the trash now. */
  async #settle(share: string, files: ShareFiles, entry: string, c: Context): Promise<readonly string[]> {
    this.#seen.delete(`${share}\n${removal(entry)}`);
    return await settleRemoval(files, entry, c);
  }

  async #emptyOne(share: string, files: ShareFiles, name: string, c: Context): Promise<void> {
    const mine = await this.#take(share, files, name, c);
    if (mine === undefined) return;
    await files.removeTree(`${TRASH}/${mine}`, c);
    c.log.info('what a removed volume had is gone', { share, folder: mine });
  }

  /** A folder that was made for a volume which then was not: answers what is in the trash now. */
  async #giveUp(share: string, files: ShareFiles, entry: string, c: Context): Promise<readonly string[]> {
    const at = entry.lastIndexOf('.');
    const record = await readRecord(files, entry.slice(0, at), c);
    this.#seen.delete(`${share}\n${entry}`);
    if (record?.uuid === entry.slice(at + 1)) {
      // Its maker has died in between.
      await placeFolder(files, record, c);
      return [];
    }
    await files.makeFolder(TRASH, OWN_FOLDER, c);
    return (await files.move(`${MAKING}/${entry}`, `${TRASH}/${entry}`, c)) ? [entry] : [];
  }

  /** What it is called when this host empties it; undefined: another one does. */
  async #take(share: string, files: ShareFiles, name: string, c: Context): Promise<string | undefined> {
    const [plain = '', host] = name.split(SEPARATOR);
    if (host === this.#host) return name;
    if (host !== undefined && this.#ageOf(share, name) < OTHERS_MS) return undefined;
    this.#seen.delete(`${share}\n${name}`);
    const mine = `${plain}${SEPARATOR}${this.#host}`;
    return (await files.move(`${TRASH}/${name}`, `${TRASH}/${mine}`, c)) ? mine : undefined;
  }

  /** Milliseconds since this host has seen it first. */
  #ageOf(share: string, name: string): number {
    const key = `${share}\n${name}`;
    const since = this.#seen.get(key) ?? this.#now();
    this.#seen.set(key, since);
    return this.#now() - since;
  }

  #forgetOthers(share: string, names: readonly string[]): void {
    for (const key of this.#seen.keys()) {
      const [of, name = ''] = key.split('\n');
      if (of === share && !names.includes(name)) this.#seen.delete(key);
    }
  }
}
