import type { Context } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { detachDisk } from '../block/attach.ts';
import { endRemovalOf } from '../block/barring.ts';
import { busyDisk } from '../block/hold-tag.ts';
import { epochOf } from '../block/holding.ts';
import type { ZoneMove } from '../block/zone-move.ts';
import type { Volume } from './backend.ts';
import { type BlockParts, currentOf } from './block-parts.ts';
import { siblings } from './block-removing.ts';

/** Takes a volume from a host on an operator's word that the host is dead: see Backend.fence. */
export const fenceDisk = async (
  parts: BlockParts,
  moves: ZoneMove,
  volume: Volume,
  host: string,
  c: Context,
): Promise<void> => {
  const { provider, self } = parts;
  const disks = await siblings(parts, volume, c);
  const current = currentOf(volume, disks);
  // One that was moving it when it died keeps it from being attached, and may have its next generation.
  await moves.endMoveOf(volume.name, host, c);
  await endRemovalOf(provider, disks, host, c);
  const held = disks.filter(({ holder: one }) => one !== undefined);
  const disk = held.find((one) => one.id === current.id) ?? held[0] ?? current;
  const { id, holder, tags } = disk;
  if (holder === undefined) return;
  if (holder.id === self().id) throw new PluginError('VOLUME_IN_USE', { volume: volume.name });
  const alive = (await provider.fate(holder.id, c)) === 'alive';
  if (alive || holder.name !== host) {
    const reason = alive ? 'and that host runs' : `not on ${host}`;
    throw busyDisk(disk, reason);
  }
  // First, so that a crash leaves an epoch without a fencing and never the reverse.
  await provider.tag(id, { epoch: String(epochOf(tags) + 1) }, c);
  await detachDisk(provider, holder, id, c);
  c.log.warn('a volume was taken from a host on the word of an operator', { volume: volume.name, host });
};
