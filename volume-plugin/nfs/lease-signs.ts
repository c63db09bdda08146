import { createHash, randomUUID } from 'node:crypto';
import { type Context, newContext, noLongerThan } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import type { Logger } from '../../shared/log.ts';
import { epochsOf, LEASES, type LeaseHost, writeBeat } from './lease-files.ts';
import type { LeaseClock, LeaseTimes } from './lease-times.ts';
import type { RecordFiles } from './share-files.ts';

export interface LeaseParts {
  readonly self: LeaseHost;
  readonly clock: LeaseClock;
  readonly times: LeaseTimes;
  readonly log: Logger;
  /** Ends with the plugin. */
  readonly end: AbortSignal;
}

/** The folder of leases, as it was after a sign of life of this host had been written there. */
export interface Round {
  /** On this host's clock, before the sign was written. */
  readonly began: number;
  /** The epochs of each volume's lease. */
  readonly epochs: ReadonlyMap<string, readonly number[]>;
}

/** What is told, and what comes of it. */
interface Telling {
  /** By volume. */
  readonly holds: ReadonlyMap<string, number>;
  /** At once after it has come through. */
  readonly told: (round: Round) => void;
}

const STOPPING = 'the plugin is stopping';

/**
 * Signs of life of this host on one share. Each look at others begins with one: the kernel's client then finds out that
 * others have changed the folder, and shows no names or files from its memory, whatever mount options say.
 */
export class LeaseSigns {
  /** The latest that were given; all are of the same share. */
  files: RecordFiles;
  readonly file: string;
  readonly #parts: LeaseParts;
  readonly #telling: () => Telling;
  #prepared = false;
  /** The last round, and one that has not begun yet. */
  #last: Promise<unknown> = Promise.resolve();
  #next: Promise<Round> | undefined;
  #closed = false;

  /** `telling` is asked at the beginning of each round. */
  constructor(parts: LeaseParts, share: string, files: RecordFiles, telling: () => Telling) {
    this.#parts = parts;
    this.#telling = telling;
    this.files = files;
    // People may have mounted one folder under two names: each has signs of its own.
    this.file = `_${parts.self.id}.${createHash('sha256').update(share).digest('hex').slice(0, 8)}.beat`;
  }

  /** A round that begins after this call; all who ask before it has begun get the same. Errors: those of RecordFiles. */
  round(c: Context): Promise<Round> {
    this.mustBeOpen();
    this.#next ??= this.#follow();
    return noLongerThan(c, this.#next);
  }

  /** Errors: NOT_READY. */
  mustBeOpen(): void {
    if (this.#closed) throw new PluginError('NOT_READY', { reason: STOPPING });
  }

  /** Gives the last sign: that the plugin is stopped, and containers may go on with these volumes. */
  async close(holds: ReadonlyMap<string, number>, c: Context): Promise<void> {
    this.#closed = true;
    if (holds.size > 0)
      await noLongerThan(
        c,
        this.#last.then(() => this.#write(holds, true, c)),
      );
  }

  /** One after the other: of two signs that are written at once the earlier one might stay. */
  #follow(): Promise<Round> {
    const { log, times, end } = this.#parts;
    const round = this.#last.then(() => {
      this.#next = undefined;
      const parent: Context = { requestId: 'lease', signal: end, deadline: Number.POSITIVE_INFINITY, log };
      const c = newContext(log, times.roundMs, parent);
      return noLongerThan(c, this.#show(c));
    });
    // Whoever waits for the round is told how it ended; the next one only waits for its end.
    this.#last = round.catch(() => {
      // Somebody may have removed the folder.
      this.#prepared = false;
    });
    return round;
  }

  async #show(c: Context): Promise<Round> {
    this.mustBeOpen();
    if (!this.#prepared) {
      await this.files.makeFolder(LEASES, { uid: 0, gid: 0, mode: 0o755 }, c);
      this.#prepared = true;
    }
    const { holds, told } = this.#telling();
    const began = this.#parts.clock.now();
    await this.#write(holds, false, c);
    const round = { began, epochs: epochsOf(await this.files.names(LEASES, c)) };
    told(round);
    return round;
  }

  async #write(holds: ReadonlyMap<string, number>, stopped: boolean, c: Context): Promise<void> {
    await this.files.replaceFile(`${LEASES}/${this.file}`, writeBeat({ sign: randomUUID(), holds, stopped }), c);
  }
}
