import { type Context, cancellable, newContext, sleep } from '../../shared/context.ts';
import { asPluginError } from '../../shared/errors.ts';
import { unusable } from './generations.ts';
import { HOLDS, holdsTag } from './hold-tag.ts';
import type { Disk, DiskHost, DiskProvider } from './provider.ts';

/** Time for what is asked of the provider. */
const WRITE_MS = 30_000;

interface Telling {
  cancel(): void;
  /** Never fails. */
  readonly done: Promise<void>;
}

/**
 * Tells other hosts how many containers have a volume here, in a tag of its disk. Nobody waits for it: changes are
 * gathered for a moment, the last one is written unless the disk says so already, and what fails is left to the next
 * change. Only the holder of a disk that is still its volume's writes, and it writes this one tag only.
 */
export class HoldCounts {
  readonly #provider: DiskProvider;
  readonly #gatherMs: number;
  /** By volume: how many there are. */
  readonly #wanted = new Map<string, number>();
  /** By volume: what its disk says. */
  readonly #told = new Map<string, number>();
  /** By volume: the disk that was mounted; unknown after a restart. */
  readonly #disks = new Map<string, string>();
  readonly #telling = new Map<string, Telling>();

  constructor(provider: DiskProvider, gatherMs: number) {
    this.#provider = provider;
    this.#gatherMs = gatherMs;
  }

  /** This disk is the volume's here. Another host may have had it since it was last told of, and have said its own. */
  mounted(volume: string, disk: string): void {
    this.#disks.set(volume, disk);
    this.#told.delete(volume);
  }

  /** The count has changed. `c`: lasts as long as the back-end. None is not told: the disk leaves then. */
  set(volume: string, count: number, self: DiskHost, c: Context): void {
    this.#wanted.set(volume, count);
    if (this.#telling.has(volume) || count === 0 || this.#told.get(volume) === count) return;
    const { context, cancel } = cancellable(c);
    const done = this.#tell(volume, self, context)
      .catch((error: unknown) => {
        if (context.signal.aborted) return;
        c.log.debug('other hosts are not told how many containers have a volume', {
          ...{ volume, error: asPluginError(error) },
        });
      })
      .finally(() => this.#telling.delete(volume));
    this.#telling.set(volume, { done, cancel: () => cancel(new Error('the volume leaves')) });
  }

  /** Before the disk is let go: nothing is written to it after this. */
  async end(volume: string): Promise<void> {
    for (const known of [this.#wanted, this.#told, this.#disks]) known.delete(volume);
    const telling = this.#telling.get(volume);
    telling?.cancel();
    await telling?.done;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#telling.keys()].map((volume) => this.end(volume)));
  }

  async #tell(volume: string, self: DiskHost, c: Context): Promise<void> {
    for (;;) {
      await sleep(this.#gatherMs, c);
      const count = this.#wanted.get(volume) ?? 0;
      if (count === 0 || this.#told.get(volume) === count) return;
      this.#told.delete(volume);
      if (!(await this.#write(volume, count, self, newContext(c.log, WRITE_MS, c)))) return;
      this.#told.set(volume, count);
    }
  }

  /** False: the disk is not this host's to write to. */
  async #write(volume: string, count: number, self: DiskHost, c: Context): Promise<boolean> {
    const disk = await this.#disk(volume, self, c);
    if (disk === undefined) return false;
    const tag = holdsTag(self.id, count);
    if (disk.tags[HOLDS] !== tag[HOLDS]) await this.#provider.tag(disk.id, tag, c);
    return true;
  }

  /** As it is now: it may have been taken from this host, or have got a later generation. */
  async #disk(volume: string, self: DiskHost, c: Context): Promise<Disk | undefined> {
    const known = this.#disks.get(volume);
    const found =
      known === undefined ? await this.#provider.list(c, volume) : [await this.#provider.describe(known, c)];
    const disks = found.filter((one) => one !== undefined);
    const isMine = (one: Disk): boolean =>
      one.volume === volume && one.holder?.id === self.id && one.state === 'attached';
    return disks.find((one) => isMine(one) && unusable(one, disks) === undefined);
  }
}
