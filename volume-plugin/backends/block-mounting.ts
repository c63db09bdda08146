import { randomUUID } from 'node:crypto';
import { type Context, throwIfDone } from '../../shared/context.ts';
import { asPluginError, PluginError } from '../../shared/errors.ts';
import { isUnused } from '../../shared/kernel/block-device.ts';
import { mountAt, readMountTable } from '../../shared/kernel/mount-table.ts';
import { type Attached, attachDisk, detachDisk } from '../block/attach.ts';
import {
  checkFilesystem,
  type Filesystem,
  hasFiles,
  mountFilesystem,
  renameFilesystem,
  repairFilesystem,
  unmountFilesystem,
} from '../block/filesystem.ts';
import { ensureFilesystem } from '../block/format.ts';
import type { HoldCounts } from '../block/hold-count.ts';
import { epochOf, refuseWhenLost, verifyCopy } from '../block/holding.ts';
import type { Disk } from '../block/provider.ts';
import type { Brought, ZoneMove } from '../block/zone-move.ts';
import type { Mounted, Volume } from './backend.ts';
import { growMounted, growUnmounted } from './block-growing.ts';
import { insideOf, prepareInside } from './block-inside.ts';
import type { KnownDisks } from './block-known.ts';
import { readBlockOptions } from './block-options.ts';
import { type BlockParts, isMountOf } from './block-parts.ts';
import type { Usages } from './block-usage.ts';

export interface MountingParts {
  readonly parts: BlockParts;
  /** Errors: NOT_READY. */
  moves(): ZoneMove;
  readonly known: KnownDisks;
  readonly holds: HoldCounts;
  readonly usages: Usages;
}

/** Brings disks to this host and mounts what is on them. */
export class BlockMounting {
  readonly #deps: MountingParts;

  constructor(deps: MountingParts) {
    this.#deps = deps;
  }

  /** See Backend.mount. */
  async mount(volume: Volume, target: string, c: Context): Promise<Mounted> {
    const { moves, known, holds, usages } = this.#deps;
    const { provider, self } = this.#deps.parts;
    const options = readBlockOptions(volume);
    const here = self();
    const brought = await moves().bring(volume.name, volume.handle.disk, c);
    const attach = (): Promise<Attached> => attachDisk(provider, here, brought.disk, c);
    const { disk, device } = await attach().catch(async (error: unknown) => {
      // By what an earlier life has mounted, whose state was lost: others may have had the disk since. It is mounted anew.
      const isLeft = mountAt(readMountTable(), target)?.source.startsWith('/dev/') === true;
      if (asPluginError(error).code !== 'VOLUME_IN_USE' || !isLeft) throw error;
      await this.unmount(volume, target, c);
      return await attach();
    });
    known.learn(disk);
    holds.mounted(volume.name, disk.id);
    let present = mountAt(readMountTable(), target);
    if (present !== undefined && !isMountOf(present, device)) {
      const reason = `${present.source} is mounted there`;
      throw new PluginError('VOLUME_NOT_MOUNTED', { volume: volume.name, reason });
    }
    // A crash in the middle of a look at it, or of the renaming of a copy, has left it there: it is not ready yet.
    const { formatted, moving, clone } = disk.tags;
    if (present !== undefined && (formatted === undefined || moving !== undefined || clone !== undefined)) {
      await this.unmount(volume, target, c);
      present = undefined;
    }
    // Only what was asked for in so many words has to be there: another one may have been brought along.
    const wanted = volume.options.fs === undefined ? undefined : options.fs;
    if (present === undefined) {
      if (await isUnused(device)) await this.#keepOrLetGo(disk, c);
      await this.#mountDevice({ ...brought, disk }, device, target, wanted, c);
      await refuseWhenLost(provider, here, disk, c).catch(async (error: unknown) => {
        await this.unmount(volume, target, c);
        throw error;
      });
    }
    await prepareInside(volume.name, target, disk.tags, options);
    void usages.look(target, c.log);
    const mounted = present ?? mountAt(readMountTable(), target);
    if (mounted === undefined) throw new PluginError('VOLUME_NOT_MOUNTED', { volume: volume.name });
    return { source: device, device: mounted.device, inside: insideOf(disk.tags), epoch: epochOf(disk.tags) };
  }

  /** See Backend.unmount. */
  async unmount(volume: Volume, target: string, c: Context): Promise<void> {
    this.#deps.usages.forget(target);
    // Of several on top of each other none may stay. Other namespaces may keep theirs: leave() waits for those.
    while (mountAt(readMountTable(), target) !== undefined) {
      throwIfDone(c);
      if (await unmountFilesystem(target, c)) continue;
      throw new PluginError('VOLUME_IN_USE', { volume: volume.name, users: 'a process that has a file of it open' });
    }
  }

  /** Looked at after it was attached: a host that moves it elsewhere looks the other way round. Errors: VOLUME_MOVING. */
  async #keepOrLetGo(disk: Disk, c: Context): Promise<void> {
    const { moves, parts } = this.#deps;
    try {
      moves().checkAttached(disk);
    } catch (error) {
      await detachDisk(parts.provider, parts.self(), disk.id, c);
      throw error;
    }
  }

  async #mountDevice(
    { disk, older }: Brought,
    device: string,
    target: string,
    wanted: Filesystem | undefined,
    c: Context,
  ): Promise<void> {
    const { moves, known } = this.#deps;
    const { provider } = this.#deps.parts;
    const uuid = disk.tags.formatting ?? disk.tags.uuid ?? randomUUID();
    const tag = (tags: Readonly<Record<string, string>>): Promise<void> => provider.tag(disk.id, tags, c);
    const filesIn = (type: Filesystem): Promise<boolean> => hasFiles(type, device, target, c);
    const kind = await ensureFilesystem({ disk, device, wanted, uuid, tag, hasFiles: filesIn }, c);
    const formatted = { ...disk, tags: { ...disk.tags, formatted: kind } };
    known.learn(formatted);
    if (disk.tags.clone !== undefined) await this.#makeItsOwn(disk, device, kind, target, c);
    // One that another mount namespace still has is in order, and must not be checked under it.
    const isFree = await isUnused(device);
    const grown = isFree && (await growUnmounted(kind, device, c));
    const spared = isFree && !grown && (await checkFilesystem(kind, device, c));
    await verifyCopy(disk, device, c);
    const current = await moves().finish({ disk: formatted, older }, c);
    known.learn(current);
    try {
      await mountFilesystem(kind, device, target, [], c);
    } catch (error) {
      if (!spared || asPluginError(error).code !== 'FILESYSTEM_DAMAGED') throw error;
      await repairFilesystem(kind, device, c);
      await mountFilesystem(kind, device, target, [], c);
    }
    // One that cannot be grown is still a volume.
    await growMounted(current, device, target, c).catch((error: unknown) =>
      c.log.warn('a file system is smaller than its disk', { volume: disk.volume, error: asPluginError(error) }),
    );
  }

  /** A copy gets a UUID of its own before it is mounted for the first time, so that it can be mounted beside its original. */
  async #makeItsOwn({ id, tags }: Disk, device: string, kind: Filesystem, target: string, c: Context): Promise<void> {
    if (tags.uuid !== undefined && (await isUnused(device))) {
      await renameFilesystem(kind, device, tags.uuid, target, c);
    }
    await this.#deps.parts.provider.tag(id, { clone: undefined }, c);
  }
}
