/** CreateSnapshot, DeleteSnapshot and DescribeSnapshots; ModifyVolume and how far it is. */
import { ApiError } from '../core/api.ts';
import type { Action, Actions, Surroundings } from './action.ts';
import { checkId, invalid, missing, notFound } from './errors.ts';
import { type FilterTable, filtered, listOf, type Parameters, page, tagSet } from './parameters.ts';
import { tagsFor } from './resource-tags.ts';
import type { Modification, Snapshot, Storage, Volume, VolumeShape } from './storage.ts';
import { volumeNamed } from './volume-actions.ts';
import { shapeOf } from './volume-rules.ts';
import type { Xml } from './xml.ts';

const HOUR = 3600_000;

const snapshotElements = (snapshot: Snapshot, { storage, world }: Surroundings): Record<string, Xml> => ({
  snapshotId: snapshot.id,
  volumeId: snapshot.volume,
  status: snapshot.state,
  startTime: new Date(snapshot.started).toISOString(),
  progress: snapshot.state === 'completed' ? '100%' : `${storage.progress(snapshot)}%`,
  ownerId: world.account,
  volumeSize: snapshot.size,
  description: snapshot.description,
  encrypted: snapshot.encrypted,
  storageTier: 'standard',
  tagSet: tagSet(snapshot.tags),
});

const createSnapshot: Action['run'] = async (parameters, around) => {
  const { storage, quotas, now } = around;
  const volume = volumeNamed(parameters, storage);
  if (volume.state !== 'available' && volume.state !== 'in-use') {
    throw new ApiError('IncorrectState', `Volume '${volume.id}' is in the '${volume.state}' state.`);
  }
  const all = storage.snapshots.entries().map(([, one]) => one);
  if (!quotas.fits('snapshots', all.length)) {
    throw new ApiError('SnapshotLimitExceeded', 'You have exceeded your maximum number of snapshots.');
  }
  const own = all.filter((one) => one.volume === volume.id);
  if (!quotas.fits('pending-snapshots', own.filter(({ state }) => state === 'pending').length)) {
    throw new ApiError(
      'ConcurrentSnapshotLimitExceeded',
      'Maximum allowed in-progress snapshots for a single volume exceeded.',
    );
  }
  if (own.some(({ started }) => now() - started < quotas.limit('seconds-between-snapshots') * 1000)) {
    throw new ApiError(
      'SnapshotCreationPerVolumeRateExceeded',
      'The maximum per volume CreateSnapshot request rate has been exceeded. Use an increasing or variable sleep interval between requests.',
    );
  }
  const made = await storage.snapshot(volume, parameters.Description ?? '', tagsFor('snapshot', parameters));
  return snapshotElements(made, around);
};

const deleteSnapshot: Action['run'] = async ({ SnapshotId: id }, { storage }) => {
  if (id === undefined) throw missing('snapshotId');
  checkId('snap', id);
  if (storage.snapshots.get(id) === undefined) throw notFound('snap', [id]);
  if (storage.images.has(id)) {
    throw new ApiError('InvalidSnapshot.InUse', `The snapshot ${id} is currently in use by an AMI`);
  }
  await storage.deleteSnapshot(id);
  return { return: true };
};

const filters = (storage: Storage): FilterTable<Snapshot> => ({
  'snapshot-id': ({ id }) => [id],
  'volume-id': ({ volume }) => [volume],
  'volume-size': ({ size }) => [String(size)],
  status: ({ state }) => [state],
  progress: (snapshot) => [`${storage.progress(snapshot)}%`],
  description: ({ description }) => [description],
  encrypted: ({ encrypted }) => [String(encrypted)],
});

const describeSnapshots = (parameters: Parameters, around: Surroundings) => {
  const { storage, world, pageSize } = around;
  const ids = listOf(parameters, 'SnapshotId');
  for (const id of ids) checkId('snap', id);
  const seen = new Map(storage.snapshots.visible());
  const unknown = ids.filter((id) => !seen.has(id));
  if (unknown.length > 0) throw notFound('snap', unknown);
  const owners = listOf(parameters, 'Owner');
  const isMine = owners.length === 0 || owners.some((one) => one === 'self' || one === world.account);
  const all = [...seen.values()].filter(({ id }) => isMine && (ids.length === 0 || ids.includes(id)));
  const found = filtered(all, parameters, filters(storage), ({ tags }) => tags);
  const { items, next } = page(found, parameters, { least: 5, most: 1000, usual: pageSize, ids: 'SnapshotId' });
  return { snapshotSet: items.map((one) => snapshotElements(one, around)), nextToken: next };
};

const modificationElements = (volume: Volume, modification: Modification): Record<string, Xml> => {
  const { state, started, ended, original, target } = modification;
  const shape = (
    prefix: 'target' | 'original',
    { size, type, iops, throughput }: VolumeShape,
  ): Record<string, Xml> => ({
    [`${prefix}Size`]: size,
    [`${prefix}VolumeType`]: type,
    [`${prefix}Iops`]: iops,
    [`${prefix}Throughput`]: throughput,
    [`${prefix}MultiAttachEnabled`]: false,
  });
  return {
    volumeId: volume.id,
    modificationState: state,
    ...shape('original', original),
    ...shape('target', target),
    progress: { modifying: 0, optimizing: 50, completed: 100 }[state],
    startTime: new Date(started).toISOString(),
    endTime: ended === undefined ? undefined : new Date(ended).toISOString(),
  };
};

const modifyVolume: Action['run'] = (parameters, { storage, now, quotas }) => {
  const volume = volumeNamed(parameters, storage);
  const { id, state, size, modification: before } = volume;
  if (state !== 'available' && state !== 'in-use') {
    throw new ApiError('IncorrectState', `Volume '${id}' is in the '${state}' state.`);
  }
  if (before !== undefined && before.state !== 'completed') {
    throw new ApiError('IncorrectModificationState', `Volume modification state is ${before.state} for '${id}'.`);
  }
  if (before !== undefined && now() - before.started < quotas.limit('hours-between-modifications') * HOUR) {
    throw new ApiError(
      'VolumeModificationRateExceeded',
      "You've reached the maximum modification rate per volume limit. Wait at least 6 hours between modifications per EBS volume.",
    );
  }
  const target = shapeOf(parameters, {
    ...{ size, type: volume.type },
    ...(volume.iops !== undefined && { iops: volume.iops }),
    ...(volume.throughput !== undefined && { throughput: volume.throughput }),
  });
  if (target.size < size) throw invalid(`New size cannot be smaller than existing size`);
  if (!quotas.fits('modified-gib', 0, target.size)) {
    throw new ApiError(
      'VolumeModificationSizeLimitExceeded',
      'You have exceeded the maximum storage that may be modified at a time in this region.',
    );
  }
  return { volumeModification: modificationElements(volume, storage.modify(id, target)) };
};

const describeModifications = (parameters: Parameters, { storage, pageSize }: Surroundings) => {
  const ids = listOf(parameters, 'VolumeId');
  for (const id of ids) checkId('vol', id);
  const seen = new Map(storage.volumes.visible());
  const unknown = ids.filter((id) => !seen.has(id));
  if (unknown.length > 0) throw notFound('vol', unknown);
  const all = [...seen.values()].flatMap((volume) => {
    const { id, modification } = volume;
    return modification === undefined || (ids.length > 0 && !ids.includes(id)) ? [] : [{ volume, modification }];
  });
  if (ids.length > 0 && all.length === 0) {
    throw new ApiError('InvalidVolumeModification.NotFound', `Modification for volume '${ids[0]}' does not exist.`);
  }
  const table: FilterTable<(typeof all)[number]> = {
    'volume-id': ({ volume }) => [volume.id],
    'modification-state': ({ modification }) => [modification.state],
  };
  const found = filtered(all, parameters, table, () => ({}));
  const { items, next } = page(found, parameters, { least: 5, most: 500, usual: pageSize, ids: 'VolumeId' });
  return {
    volumeModificationSet: items.map(({ volume, modification }) => modificationElements(volume, modification)),
    nextToken: next,
  };
};

export const snapshotActions: Actions = {
  CreateSnapshot: { accepts: ['VolumeId', 'Description', 'TagSpecification'], run: createSnapshot },
  DeleteSnapshot: { accepts: ['SnapshotId'], run: deleteSnapshot },
  DescribeSnapshots: { accepts: ['Filter', 'SnapshotId', 'Owner', 'MaxResults', 'NextToken'], run: describeSnapshots },
  ModifyVolume: { accepts: ['VolumeId', 'Size', 'VolumeType', 'Iops', 'Throughput'], run: modifyVolume },
  DescribeVolumesModifications: {
    accepts: ['Filter', 'VolumeId', 'MaxResults', 'NextToken'],
    run: describeModifications,
  },
};
