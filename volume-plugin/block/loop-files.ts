import { randomUUID } from 'node:crypto';
import { link, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { DiskRequest } from './provider.ts';

/** The folder of the loop provider: for each disk an image, its description, and a note of who has it. */

/** What is known of a disk beside its image. */
export interface LoopDescription {
  readonly id: string;
  readonly volume: string;
  /** Bytes. */
  readonly size: number;
  readonly tags: Readonly<Record<string, string>>;
  readonly fromSnapshot?: string;
  readonly created: string;
  /** The token of the call that made it. */
  readonly token: string;
}

/** Who has the disk. */
export interface LoopHolder {
  readonly id: string;
  readonly name: string;
}

const isMissing = (error: unknown): boolean => error instanceof Error && 'code' in error && error.code === 'ENOENT';

/** Reads a file that may not be there. */
const readJson = async <T>(path: string): Promise<T | undefined> => {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as T;
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
};

/** Files of disks by volume name: names are checked before they get here. Everything is durable when it resolves. */
export class LoopFiles {
  readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  image(volume: string): string {
    return join(this.folder, `${volume}.img`);
  }

  async prepare(): Promise<void> {
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
  }

  async all(): Promise<readonly LoopDescription[]> {
    const names = (await readdir(this.folder)).filter((name) => name.endsWith('.json') && !name.startsWith('.'));
    const found = await Promise.all(names.map((name) => readJson<LoopDescription>(join(this.folder, name))));
    return found.flatMap((one) => one ?? []);
  }

  read(volume: string): Promise<LoopDescription | undefined> {
    return readJson<LoopDescription>(join(this.folder, `${volume}.json`));
  }

  write(description: LoopDescription): Promise<void> {
    return this.#put(`${description.volume}.json`, description);
  }

  holder(volume: string): Promise<LoopHolder | undefined> {
    return readJson<LoopHolder>(join(this.folder, `${volume}.holder`));
  }

  /** Notes who has it, unless somebody has: of several hosts on one folder exactly one succeeds. Answers who has it. */
  async hold(volume: string, holder: LoopHolder): Promise<LoopHolder> {
    const note = await this.#temporary(holder);
    try {
      await link(note, join(this.folder, `${volume}.holder`));
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
      return (await this.holder(volume)) ?? holder;
    } finally {
      await rm(note, { force: true });
    }
    await this.#sync();
    return holder;
  }

  async letGo(volume: string): Promise<void> {
    await rm(join(this.folder, `${volume}.holder`), { force: true });
    await this.#sync();
  }

  /** Makes an image of zeros, which takes no room before it is written to. */
  async makeImage(volume: string, size: number): Promise<void> {
    const file = await open(this.image(volume), 'a', 0o600);
    try {
      if ((await file.stat()).size < size) await file.truncate(size);
      await file.sync();
    } finally {
      await file.close();
    }
    await this.#sync();
  }

  async grow(volume: string, size: number): Promise<void> {
    await this.makeImage(volume, size);
  }

  /** Bytes that images may still take: their sizes, less what they have on the disk already. */
  async promised(): Promise<number> {
    const disks = await this.all();
    const open = await Promise.all(
      disks.map(async ({ volume, size }) => {
        const found = await stat(this.image(volume)).catch((error: unknown) => {
          if (isMissing(error)) return undefined;
          throw error;
        });
        return found === undefined ? size : Math.max(0, size - found.blocks * 512);
      }),
    );
    return open.reduce((sum, one) => sum + one, 0);
  }

  /** The description goes last: while it is there, the rest is found by it. */
  async remove(volume: string): Promise<void> {
    for (const end of ['img', 'holder', 'json']) await rm(join(this.folder, `${volume}.${end}`), { force: true });
    await this.#sync();
  }

  async #put(name: string, value: unknown): Promise<void> {
    await rename(await this.#temporary(value), join(this.folder, name));
    await this.#sync();
  }

  async #temporary(value: unknown): Promise<string> {
    const path = join(this.folder, `.${randomUUID()}`);
    const file = await open(path, 'wx', 0o600);
    try {
      await file.writeFile(JSON.stringify(value));
      await file.sync();
    } finally {
      await file.close();
    }
    return path;
  }

  async #sync(): Promise<void> {
    const folder = await open(this.folder, 'r');
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  }
}

/** A description for a request that was not made yet. */
export const describeRequest = (request: DiskRequest, token: string, now: Date): LoopDescription => ({
  id: `loop-${request.volume}`,
  volume: request.volume,
  size: request.size,
  tags: request.tags,
  ...(request.snapshot !== undefined && { fromSnapshot: request.snapshot }),
  created: now.toISOString(),
  token,
});
