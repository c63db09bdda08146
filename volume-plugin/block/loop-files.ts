import { randomUUID } from 'node:crypto';
import { link, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { PluginError } from '../../shared/errors.ts';
import type { DiskRequest } from './provider.ts';

/** The folder of the loop provider: for each disk an image, its description, and a note of who has it. */

/** What is known of a disk beside its image. */
export interface LoopDescription {
  /** Of this disk only: another one of the same volume name, made later, has another id. */
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

const hasCode = (error: unknown, code: string): boolean =>
  error instanceof Error && 'code' in error && error.code === code;

/** Answers undefined where there is no such file. */
const unlessMissing = async <T>(work: Promise<T>): Promise<T | undefined> => {
  try {
    return await work;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
};

/** Reads a file that may not be there. Errors: BACKEND_REFUSED for one that is spoilt. */
const readJson = async <T extends { readonly id: string }>(path: string): Promise<T | undefined> => {
  const text = await unlessMissing(readFile(path, 'utf8'));
  if (text === undefined) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && 'id' in value && typeof value.id === 'string') return value as T;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw new PluginError('BACKEND_REFUSED', { provider: 'loop', what: 'to go on', reason: `${path} is spoilt` });
};

/** Names of files that only exist while they are written; what a crash left of them goes after this long. */
const TEMPORARY = /^\.[0-9a-f-]{36}$/;
const ABANDONED_MS = 3_600_000;

/** The volume in a disk's id. */
const volumeOf = (id: string): string | undefined => /^loop-[0-9a-f]{12}-(.+)$/s.exec(id)?.[1];

/**
 * Files of disks. Descriptions go by the volume's name (names are checked before they get here), images and notes by the
 * disk's id. Everything is durable when it resolves.
 */
export class LoopFiles {
  readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  image(id: string): string {
    return join(this.folder, `${id}.img`);
  }

  /** Makes the folder, and takes away what crashes have left in it. */
  async prepare(self: LoopHolder): Promise<void> {
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    for (const name of await readdir(this.folder)) {
      const path = join(this.folder, name);
      const [, id = '', end] = /^(.+)\.(img|holder)$/s.exec(name) ?? [];
      if (TEMPORARY.test(name)) await this.#removeAbandoned(path);
      else if (volumeOf(id) === undefined || (await this.read(id)) !== undefined) continue;
      else if (end === 'holder') await this.letGo(id, self.id);
      else if ((await this.holder(id)) === undefined) await this.#removeAbandoned(path);
    }
  }

  async #removeAbandoned(path: string): Promise<void> {
    const found = await unlessMissing(stat(path));
    if (found !== undefined && Date.now() - found.mtimeMs > ABANDONED_MS) await rm(path, { force: true });
  }

  async all(): Promise<readonly LoopDescription[]> {
    const names = (await readdir(this.folder)).filter((name) => name.endsWith('.json') && !name.startsWith('.'));
    const found = await Promise.all(names.map((name) => readJson<LoopDescription>(join(this.folder, name))));
    return found.flatMap((one) => one ?? []);
  }

  /** The description of this very disk. */
  async read(id: string): Promise<LoopDescription | undefined> {
    const volume = volumeOf(id);
    const found = volume === undefined ? undefined : await this.readVolume(volume);
    return found?.id === id ? found : undefined;
  }

  readVolume(volume: string): Promise<LoopDescription | undefined> {
    return readJson<LoopDescription>(join(this.folder, `${volume}.json`));
  }

  /** Describes a new disk, unless its volume has one: of several hosts at once one succeeds. Answers the volume's disk. */
  async add(description: LoopDescription): Promise<LoopDescription> {
    for (;;) {
      if (await this.#link(JSON.stringify(description), `${description.volume}.json`)) return description;
      const known = await this.readVolume(description.volume);
      // Gone between the two looks: try again.
      if (known !== undefined) return known;
    }
  }

  async write(description: LoopDescription): Promise<void> {
    const written = await this.#temporary((file) => file.writeFile(JSON.stringify(description)));
    await rename(written, join(this.folder, `${description.volume}.json`));
    await this.#sync();
  }

  holder(id: string): Promise<LoopHolder | undefined> {
    return readJson<LoopHolder>(join(this.folder, `${id}.holder`));
  }

  /** Notes who has it, unless somebody has: of several hosts on one folder exactly one succeeds. Answers who has it. */
  async hold(id: string, holder: LoopHolder): Promise<LoopHolder> {
    for (;;) {
      if (await this.#link(JSON.stringify(holder), `${id}.holder`)) return holder;
      const other = await this.holder(id);
      // Given up between the two looks: only a note of one's own counts.
      if (other !== undefined) return other;
    }
  }

  /** Takes the note away, if it is this host's. */
  async letGo(id: string, host: string): Promise<void> {
    if ((await this.holder(id))?.id !== host) return;
    await rm(join(this.folder, `${id}.holder`), { force: true });
    await this.#sync();
  }

  /** Makes an image of zeros, which takes no room before it is written to; leaves one that is there as it is. */
  async makeImage(id: string, size: number): Promise<void> {
    await this.#link((file) => file.truncate(size), `${id}.img`);
  }

  /** Bytes of the image; undefined: there is none. */
  async imageSize(id: string): Promise<number | undefined> {
    return (await unlessMissing(stat(this.image(id))))?.size;
  }

  /** What the image's file still has in memory goes to where it is kept. */
  async syncImage(id: string): Promise<void> {
    const file = await unlessMissing(open(this.image(id), 'r+'));
    await file?.sync().finally(() => file.close());
  }

  /** Bytes that images may still take: their sizes, less what they have on the disk already. */
  async promised(): Promise<number> {
    const all = await this.all();
    const open = all.map(async ({ id, size }) => {
      const found = await unlessMissing(stat(this.image(id)));
      return found === undefined ? size : Math.max(0, size - found.blocks * 512);
    });
    return (await Promise.all(open)).reduce((sum, one) => sum + one, 0);
  }

  /** Removes a disk, under a note of one's own. The description goes last but the note: the rest is found by it. */
  async remove({ id, volume }: LoopDescription, self: LoopHolder): Promise<void> {
    await rm(this.image(id), { force: true });
    await rm(join(this.folder, `${volume}.json`), { force: true });
    await this.#sync();
    await this.letGo(id, self.id);
  }

  /** Writes a new file under its name, which only appears when it is whole; false: the name is taken. */
  async #link(content: string | Write, name: string): Promise<boolean> {
    const written = await this.#temporary(typeof content === 'string' ? (file) => file.writeFile(content) : content);
    try {
      await link(written, join(this.folder, name));
    } catch (error) {
      if (hasCode(error, 'EEXIST')) return false;
      throw error;
    } finally {
      await rm(written, { force: true });
    }
    await this.#sync();
    return true;
  }

  async #temporary(write: Write): Promise<string> {
    const path = join(this.folder, `.${randomUUID()}`);
    const file = await open(path, 'wx', 0o600);
    try {
      await write(file);
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

type Write = (file: Awaited<ReturnType<typeof open>>) => Promise<void>;

/** A description for a request that was not made yet. */
export const describeRequest = (request: DiskRequest, token: string, now: Date): LoopDescription => ({
  id: `loop-${randomUUID().slice(-12)}-${request.volume}`,
  volume: request.volume,
  size: request.size,
  tags: request.tags,
  ...(request.snapshot !== undefined && { fromSnapshot: request.snapshot }),
  created: now.toISOString(),
  token,
});
