import { createHash, randomUUID } from 'node:crypto';
import { lstat } from 'node:fs/promises';
import type { Context } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { blocking } from '../../shared/kernel/blocking.ts';
import { exec } from '../../shared/kernel/exec.ts';
import { DurableFolder, type Fill } from './durable-folder.ts';
import { changedDisk, LoopChanges, type LoopVersion } from './loop-changes.ts';
import type { DiskRequest, DiskTags } from './provider.ts';

/** The folder of the loop provider: for each disk an image, its description, and a note of who has it. */

/** What is known of a disk beside its image. */
export interface LoopDescription {
  /** Of this disk only: another one of the same volume name, made later, has another id. */
  readonly id: string;
  /** Empty: the disk was released, and is no volume's. */
  readonly volume: string;
  /** The volume that it was before it was released. */
  readonly name?: string;
  /** Bytes. */
  readonly size: number;
  readonly tags: DiskTags;
  readonly labels?: DiskTags;
  readonly fromSnapshot?: string;
  readonly created: string;
}

/** Who has the disk. */
export interface LoopHolder {
  readonly id: string;
  readonly name: string;
  /** It only has it while it does this with the disk, and not as a device. */
  readonly meanwhile?: string;
}

/** An image that somebody has put into the folder. */
export interface ForeignImage {
  readonly name: string;
  /** Bytes that a device has of it: whole sectors. */
  readonly size: number;
  /** Tells it from another one that has its name later. */
  readonly inode: number;
}

/** How disks and snapshots are named: by what they were asked for with, by chance, and by a name for people. */
export const newId = (kind: 'loop' | 'snap', token: string, volume: string): string =>
  `${kind}-${hash(token)}${randomUUID().slice(-6)}-${volume}`;

/** The name of the file that describes what was asked for with this token. */
export const descriptionOfToken = (kind: 'loop' | 'snap', token: string, volume: string): string =>
  `${kind}-${hash(token)}-${volume}.json`;

/** The same for an id; undefined: it is none of ours. */
export const descriptionOfId = (kind: 'loop' | 'snap', id: string): string | undefined => {
  const [, found, token, name] = /^(loop|snap)-([0-9a-f]{12})[0-9a-f]{6}-([^/]+)$/s.exec(id) ?? [];
  return found === kind ? `${kind}-${token}-${name}.json` : undefined;
};

const hash = (token: string): string => createHash('sha256').update(token).digest('hex').slice(0, 12);

/** Fills an image with a copy of another; holes stay holes, and where the file system shares blocks it does so. */
export const copyOf =
  (from: string, size: number, c: Context): Fill =>
  async (file, path) => {
    await exec('cp', ['--sparse=always', '--reflink=auto', '--', from, path], c);
    await file.truncate(size);
  };

const DESCRIPTION = /^loop-[0-9a-f]{12}-(.+)\.json$/s;
const FOREIGN = /^(?!loop-|snap-|\.).+\.(img|raw)$/s;

/** Files of disks. Names of volumes are checked before they get here. Everything is durable when it resolves. */
export class LoopFiles {
  readonly folder: DurableFolder;
  readonly #changes: LoopChanges;

  constructor(folder: string) {
    this.folder = new DurableFolder(folder);
    this.#changes = new LoopChanges(this.folder);
  }

  image(id: string): string {
    return this.folder.path(`${id}.img`);
  }

  /** Makes the folder, and takes away what crashes have left in it. */
  async prepare(self: LoopHolder): Promise<void> {
    await this.folder.prepare();
    for (const name of await this.folder.names()) {
      const changed = changedDisk(name);
      if (changed !== undefined && (await this.read(changed)) === undefined) await this.folder.removeAbandoned(name);
      const [, id = '', end] = /^(.+)\.(img|holder)$/s.exec(name) ?? [];
      if (descriptionOfId('loop', id) === undefined) continue;
      const holder = await this.holder(id);
      const gone = (await this.read(id)) === undefined;
      // What this host was doing with it ended with the process that did it.
      if (end === 'holder' && (gone || holder?.meanwhile !== undefined)) await this.letGo(id, self.id);
      // One with data is somebody's whose description was lost, or was not put back yet: never removed for that.
      else if (end === 'img' && gone && holder === undefined && (await this.folder.size(name))?.taken === 0)
        await this.folder.removeAbandoned(name);
    }
  }

  /** Every disk, or those of one volume: a disk's description has its volume's name, or the one that it had. */
  async all(volume?: string): Promise<readonly LoopDescription[]> {
    const names = await this.folder.names();
    const descriptions = names.filter((name) => {
      const [, of] = DESCRIPTION.exec(name) ?? [];
      return of !== undefined && (volume === undefined || of === volume);
    });
    const found = descriptions.map(async (name) => {
      const first = await this.folder.read<LoopDescription>(name);
      return first === undefined ? [] : [(await this.#changes.last(first, names)).description];
    });
    return (await Promise.all(found)).flat();
  }

  /** The description of this very disk. */
  async read(id: string): Promise<LoopDescription | undefined> {
    return (await this.#version(id))?.description;
  }

  async #version(id: string): Promise<LoopVersion | undefined> {
    const name = descriptionOfId('loop', id);
    const first = name === undefined ? undefined : await this.folder.read<LoopDescription>(name);
    return first?.id === id ? await this.#changes.last(first) : undefined;
  }

  /** Describes a new disk, unless the token has made one: of several hosts at once one succeeds. Answers the disk. */
  async add(request: DiskRequest, token: string): Promise<LoopDescription> {
    const name = descriptionOfToken('loop', token, request.volume);
    const description = describeRequest(request, token);
    for (;;) {
      if (await this.folder.create(name, JSON.stringify(description))) return description;
      const known = await this.made(request.volume, token);
      // Gone between the two looks: try again.
      if (known !== undefined) return known;
    }
  }

  /** The disk that the token has made, if it has. */
  async made(volume: string, token: string): Promise<LoopDescription | undefined> {
    const first = await this.folder.read<LoopDescription>(descriptionOfToken('loop', token, volume));
    return first && (await this.#changes.last(first)).description;
  }

  /**
   * Changes a description: of several hosts at once one after the other, each what the one before has written. Answers
   * what it is then; undefined: there is no such disk.
   */
  async change(id: string, work: (now: LoopDescription) => LoopDescription): Promise<LoopDescription | undefined> {
    for (;;) {
      const found = await this.#version(id);
      if (found === undefined) return undefined;
      const after = work(found.description);
      if (JSON.stringify(after) === JSON.stringify(found.description)) return after;
      if (await this.#changes.add(found.number, after)) return after;
    }
  }

  /** Removes what describes a disk: from then on there is none. */
  async forget(id: string): Promise<void> {
    const name = descriptionOfId('loop', id);
    if (name !== undefined) await this.folder.remove(name);
    await this.#changes.remove(id);
  }

  holder(id: string): Promise<LoopHolder | undefined> {
    return this.folder.read<LoopHolder>(`${id}.holder`);
  }

  /** Notes who has it, unless somebody has: of several hosts on one folder exactly one succeeds. Answers who has it. */
  async hold(id: string, holder: LoopHolder): Promise<LoopHolder> {
    for (;;) {
      if (await this.folder.create(`${id}.holder`, JSON.stringify(holder))) return holder;
      const other = await this.holder(id);
      // Given up between the two looks: only a note of one's own counts.
      if (other !== undefined) return other;
    }
  }

  /** Takes the note away, if it is this host's. */
  async letGo(id: string, host: string): Promise<void> {
    if ((await this.holder(id))?.id === host) await this.folder.remove(`${id}.holder`, `${id}.holds`);
  }

  /**
   * How many containers of its holder use the disk, as a tag. It is a file of its own: the description may be written by
   * another host at the same time.
   */
  async holds(id: string): Promise<string | undefined> {
    try {
      return (await this.folder.read<{ readonly id: string; readonly tag: string }>(`${id}.holds`))?.tag;
    } catch (error) {
      // Spoilt: a disk is as well without it.
      if (error instanceof PluginError && error.code === 'BACKEND_REFUSED') return undefined;
      throw error;
    }
  }

  async setHolds(id: string, tag: string | undefined): Promise<void> {
    if (tag === undefined) await this.folder.remove(`${id}.holds`);
    else await this.folder.replace(`${id}.holds`, JSON.stringify({ id, tag }));
  }

  /** Makes an image, unless there is one: zeros, which take no room before they are written to, or a copy. */
  async makeImage(id: string, fill: Fill): Promise<void> {
    if ((await this.imageSize(id)) === undefined) await this.folder.create(`${id}.img`, fill);
  }

  /** Bytes of the image; undefined: there is none. */
  async imageSize(id: string): Promise<number | undefined> {
    return (await this.folder.size(`${id}.img`))?.bytes;
  }

  /** Makes the image larger, never smaller; the new part is zeros. */
  async growImage(id: string, size: number): Promise<void> {
    await this.folder.change(`${id}.img`, async (file) => {
      if ((await file.stat()).size < size) await file.truncate(size);
    });
  }

  /** What the image's file still has in memory goes to where it is kept. */
  async syncImage(id: string): Promise<void> {
    await this.folder.change(`${id}.img`, async () => undefined);
  }

  /** Removes a disk, under a note of one's own. The description goes last but the note: the rest is found by it. */
  async remove({ id }: LoopDescription, self: LoopHolder): Promise<void> {
    await this.folder.remove(`${id}.img`);
    await this.forget(id);
    await this.letGo(id, self.id);
  }

  /**
   * Describes a disk of another name or of none anew, and takes over its image: a file of somebody else's, or a disk that
   * was released. The same again finishes what a crash cut off. Errors: BACKEND_REFUSED.
   */
  async takeOver(image: string, request: DiskRequest, token: string): Promise<string> {
    const { id } = await this.add(request, token);
    if ((await this.folder.size(image)) === undefined) return id;
    if ((await this.imageSize(id)) !== undefined) {
      const reason = `${id} has an image already`;
      throw new PluginError('BACKEND_REFUSED', { provider: 'loop', what: `to take over ${image}`, reason });
    }
    await this.folder.rename(image, `${id}.img`);
    return id;
  }

  /** Images of others that lie in the folder. */
  async foreign(): Promise<readonly ForeignImage[]> {
    const names = (await this.folder.names()).filter((name) => FOREIGN.test(name));
    const found = names.map(async (name) => {
      const path = this.folder.path(name);
      const found = await blocking(this.folder.folder, `looking at ${path}`, () => lstat(path));
      return found.isFile() ? [{ name, size: found.size - (found.size % 512), inode: found.ino }] : [];
    });
    return (await Promise.all(found)).flat();
  }
}

export const describeRequest = (request: DiskRequest, token: string): LoopDescription => ({
  id: newId('loop', token, request.volume),
  volume: request.volume,
  size: request.size,
  tags: request.tags,
  ...(request.labels !== undefined && { labels: request.labels }),
  ...(request.snapshot !== undefined && { fromSnapshot: request.snapshot }),
  created: new Date().toISOString(),
});

export const missing = ({ id, volume }: { readonly id: string; readonly volume: string }): PluginError =>
  new PluginError('DISK_MISSING', { volume, disk: id });
