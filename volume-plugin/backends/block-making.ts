import { createHash, randomUUID } from 'node:crypto';
import { type Context, sleep } from '../../shared/context.ts';
import { asPluginError, PluginError } from '../../shared/errors.ts';
import { currentDisk, isBlank, isPristine } from '../block/generations.ts';
import type { Disk, DiskProvider, DiskTags, Snapshot } from '../block/provider.ts';
import { refuseWhileRemoved } from '../block/removers.ts';
import type { NewVolume } from './backend.ts';
import { copySize, differences, diskSize, readBlockOptions, traitsOf } from './block-options.ts';
import { type BlockParts, tokensOf, untilMade, untilReady, withTokens } from './block-parts.ts';
import { takeSnapshot } from './block-snapshots.ts';

/**
 * Tokens by the volume's name, with which of several hosts at once one makes the disk. A provider that remembers those of
 * disks that are gone has burned some; then come those of this making.
 */
const SHARED_TOKENS = 4;
const OWN_TOKENS = 4;
/** What another host has made may not show at once: mostly it does within this part of the settling time. */
const LAG = 0.1;

/** What a volume begins as a copy of. */
interface Origin {
  /** For people. */
  readonly what: string;
  /** Bytes. */
  readonly size: number;
  readonly inside: string | undefined;
  snapshot(c: Context): Promise<Snapshot>;
  /** What is only there for the copy goes again. */
  done(snapshot: Snapshot, c: Context): Promise<void>;
}

/** Makes the disk of a volume, or finds the one that was made. Errors: VOLUME_EXISTS, OPTION_INVALID, SNAPSHOT_UNKNOWN, … */
export const makeDisk = async (parts: BlockParts, spec: NewVolume, c: Context): Promise<Disk> => {
  const { provider, self, onRemove, settleMs } = parts;
  const { name, making = randomUUID() } = spec;
  const options = readBlockOptions(spec);
  const existing = async () => currentDisk(await provider.list(c, name));
  const known = await existing();
  if (known !== undefined) {
    refuseWhileRemoved(known, self());
    agreed(known, spec);
  }
  // One that is not made yet may have been cut off: asking for it again goes on with it.
  if (known !== undefined && known.state !== 'creating') {
    if (options.from !== undefined) await removeLeftOver(parts, options.from, name, making, c);
    return await claimed(provider, known, making, c);
  }
  const origin = options.from === undefined ? undefined : await originOf(parts, options.from, name, making, c);
  const { zone } = self();
  const request = {
    ...traitsOf(options),
    volume: name,
    size: origin === undefined ? diskSize(options) : copySize(spec, origin.what, origin.size),
    ...(zone !== undefined && { zone }),
    tags: {
      options: JSON.stringify(spec.options),
      uuid: uuidOf(name, making),
      'on-remove': options['on-remove'] ?? onRemove,
      ...(origin !== undefined && { clone: 'yes' }),
      ...(origin?.inside !== undefined && { inside: origin.inside }),
    },
  };
  provider.check(request);
  const snapshot = await origin?.snapshot(c);
  const tokens = [...tokensOf(`drayage-${name}`, SHARED_TOKENS), ...tokensOf(`drayage-${name}-${making}`, OWN_TOKENS)];
  const create = (token: string): Promise<Disk> =>
    provider.create({ ...request, ...(snapshot !== undefined && { snapshot: snapshot.id }) }, token, c);
  const burned = async (): Promise<Disk | undefined> => {
    await sleep(settleMs * LAG * Math.random(), c);
    return existing();
  };
  const make = async (): Promise<Disk> => agreed(await withTokens(tokens, create, burned), spec);
  const disk = await make().catch(async (error: unknown) => {
    // Nobody makes it any more: neither of what is there only for that.
    const refused = error instanceof PluginError && error.retry !== 'backoff';
    if (refused && origin !== undefined && snapshot !== undefined) await origin.done(snapshot, c);
    throw error;
  });
  if (origin !== undefined && snapshot !== undefined) {
    await untilMade(provider, disk, c);
    await origin.done(snapshot, c);
  }
  return await claimed(provider, disk, making, c);
};

/** See Backend.discard. A disk that others have just begun to use may show it late, so it is looked at twice. */
export const discardDisks = async (
  { provider, settleMs }: BlockParts,
  name: string,
  making: string,
  c: Context,
): Promise<void> => {
  const isLeft = (disk: Disk): boolean => disk.tags.uuid === uuidOf(name, making) && isPristine(disk);
  const left = (await provider.list(c, name)).filter(isLeft);
  if (left.length > 0 && provider.isPrompt !== true) await sleep(settleMs, c);
  for (const { id } of left) {
    const disk = await provider.describe(id, c);
    if (disk !== undefined && disk.state !== 'deleting' && isLeft(disk)) await provider.remove(id, c);
  }
};

/** What another making has made is this one's from now on: should that one be given up, it is not removed with it. */
const claimed = async (provider: DiskProvider, disk: Disk, making: string, c: Context): Promise<Disk> => {
  const uuid = uuidOf(disk.volume, making);
  if (!isPristine(disk) || disk.tags.uuid === undefined || disk.tags.uuid === uuid) return disk;
  await provider.tag(disk.id, { uuid }, c);
  return { ...disk, tags: { ...disk.tags, uuid } };
};

const agreed = (disk: Disk, spec: NewVolume): Disk => {
  const other = differences(disk, spec);
  if (other !== undefined) throw new PluginError('VOLUME_EXISTS', { volume: spec.name, differences: other });
  return disk;
};

/** Of a file system, and of its making: asked for again after a crash, a disk must be asked for in the same words. */
export const uuidOf = (name: string, making: string): string => {
  const hash = createHash('sha256').update(`${name}\n${making}`).digest('hex');
  return [
    hash.slice(0, 8),
    hash.slice(8, 12),
    `4${hash.slice(13, 16)}`,
    `8${hash.slice(17, 20)}`,
    hash.slice(20, 32),
  ].join('-');
};

/** A snapshot by its id, or a volume by its name. Errors: SNAPSHOT_UNKNOWN. */
const originOf = async (parts: BlockParts, from: string, name: string, making: string, c: Context): Promise<Origin> => {
  const { provider } = parts;
  const snapshot = await provider.describeSnapshot(from, c);
  if (snapshot !== undefined) {
    return {
      ...{ what: `snapshot ${from}`, size: snapshot.size, inside: snapshot.tags.inside },
      snapshot: (inner) => untilReady(provider, snapshot, inner),
      done: async () => undefined,
    };
  }
  const source = from === name ? undefined : currentDisk(await provider.list(c, from));
  if (source === undefined) throw new PluginError('SNAPSHOT_UNKNOWN', { snapshot: from, reason: 'and no such volume' });
  if (isBlank(source)) {
    const reason = 'nothing is on it yet: it was never mounted';
    throw new PluginError('BACKEND_REFUSED', { provider: provider.name, what: `a copy of volume ${from}`, reason });
  }
  return {
    ...{ what: `volume ${from}`, size: source.size, inside: source.tags.inside },
    snapshot: (inner) => snapshotFor(parts, source, name, making, inner),
    // The volume is made: what is left over can be removed by hand, too.
    done: (taken, inner) =>
      provider.removeSnapshot(taken.id, inner).catch((thrown: unknown) => {
        const error = asPluginError(thrown);
        inner.log.warn('the snapshot that a volume was copied by could not be removed', { snapshot: taken.id, error });
      }),
  };
};

/** A crash between the making of the disk and its end has left the snapshot that it was copied by. */
const removeLeftOver = async (
  { provider }: BlockParts,
  from: string,
  name: string,
  making: string,
  c: Context,
): Promise<void> => {
  try {
    for (const { id, tags } of await provider.snapshots(c, from)) {
      if (isFor(tags, name, making)) await provider.removeSnapshot(id, c);
    }
  } catch (error) {
    c.log.warn('a snapshot that a volume was copied by may be left', { volume: from, error: asPluginError(error) });
  }
};

const isFor = (tags: DiskTags, name: string, making: string): boolean =>
  tags.reason === 'clone' && tags.for === name && tags.making === making;

/** The snapshot that this making has taken of the volume, or takes now. */
const snapshotFor = async (
  parts: BlockParts,
  source: Disk,
  name: string,
  making: string,
  c: Context,
): Promise<Snapshot> => {
  const { provider, locks } = parts;
  const earlier = (await provider.snapshots(c, source.volume)).find(
    ({ state, tags }) => isFor(tags, name, making) && state !== 'failed',
  );
  const tags = { reason: 'clone', for: name, making };
  const token = `drayage-clone-${name}-${making}`;
  // Its volume must neither be mounted nor unmounted meanwhile.
  const take = (): Promise<Snapshot> => takeSnapshot(parts, source, tags, token, c);
  const taken = earlier ?? (await locks.run(source.volume, take, c));
  return await untilReady(provider, taken, c);
};
