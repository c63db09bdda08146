/** CreateSnapshot, DeleteSnapshot and DescribeSnapshots. */
import { ApiError } from '../core/api.ts';
import type { Action, Actions, Surroundings } from './action.ts';
import { checkId, missing, notFound } from './errors.ts';
import { named } from './machine-actions.ts';
import { type FilterTable, filtered, listOf, type Parameters, page, tagSet } from './parameters.ts';
import { tagsFor } from './resource-tags.ts';
import type { Snapshot, Storage } from './storage.ts';
import { volumeNamed } from './volume-actions.ts';
import type { Xml } from './xml.ts';

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
  const all = named(new Map(storage.snapshots.visible()), 'snap', listOf(parameters, 'SnapshotId'));
  const owners = listOf(parameters, 'Owner');
  const isMine = owners.length === 0 || owners.some((one) => one === 'self' || one === world.account);
  const found = filtered(isMine ? all : [], parameters, filters(storage), ({ tags }) => tags);
  const { items, next } = page(found, parameters, { least: 5, most: 1000, usual: pageSize, ids: 'SnapshotId' });
  return { snapshotSet: items.map((one) => snapshotElements(one, around)), nextToken: next };
};

export const snapshotActions: Actions = {
  CreateSnapshot: { accepts: ['VolumeId', 'Description', 'TagSpecification'], run: createSnapshot },
  DeleteSnapshot: { accepts: ['SnapshotId'], run: deleteSnapshot },
  DescribeSnapshots: { accepts: ['Filter', 'SnapshotId', 'Owner', 'MaxResults', 'NextToken'], run: describeSnapshots },
};
