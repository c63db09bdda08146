/** The actions of ECS 2014-05-26 that make and remove snapshots. */
import { ApiError } from '../core/api.ts';
import { creatingSnapshot, type DiskTokens, isBeingCopied, nameOf, usableDisk, wrongStatus } from './disk-actions.ts';
import { tagsOf } from './disk-tags.ts';
import type { Disks } from './disks.ts';
import { type Actions, flag, type Parameters } from './parameters.ts';

const createSnapshot = async (disks: Disks, parameters: Parameters): Promise<string> => {
  const disk = usableDisk(disks, parameters.DiskId);
  const name = nameOf(parameters, 'SnapshotName');
  // Those are the vendor's own.
  if (name.startsWith('auto')) {
    throw new ApiError('InvalidSnapshotName.Malformed', 'The specified parameter SnapshotName is not valid.');
  }
  if (disk.status !== 'Available' && disk.status !== 'In_use') throw wrongStatus();
  if (!disk.used) throw wrongStatus('.NeverAttached');
  if (isBeingCopied(disks, disk.id)) throw creatingSnapshot();
  const taken = disks.allSnapshots().filter((one) => one.disk === disk.id).length;
  if (!disks.quotas.fits('ecs_snapshots_per_disk', taken)) {
    throw new ApiError('QuotaExceed.Snapshot', 'The snapshot quota exceeds.', 403);
  }
  const made = await disks.snapshot(disk, {
    ...{ name, description: parameters.Description ?? '', tags: tagsOf(parameters) },
  });
  return made.id;
};

const deleteSnapshot = (disks: Disks, parameters: Parameters): Record<string, never> => {
  const snapshot = disks.snapshots.get(parameters.SnapshotId ?? '');
  if (snapshot === undefined) {
    throw new ApiError('InvalidSnapshotId.NotFound', 'The specified SnapshotId does not exist.', 404);
  }
  if (snapshot.used && !flag(parameters, 'Force')) {
    throw new ApiError('SnapshotCreatedDisk', 'The snapshot has been used to create disk.', 403);
  }
  disks.removeSnapshot(snapshot.id);
  return {};
};

export function snapshotActions(disks: Disks, tokens: DiskTokens): Actions {
  return {
    CreateSnapshot: {
      required: ['DiskId'],
      optional: ['SnapshotName', 'Description', 'Tag.N.Key', 'Tag.N.Value', 'ClientToken'],
      perform: async (parameters) => ({
        SnapshotId: await tokens.once('CreateSnapshot', parameters, () => createSnapshot(disks, parameters)),
      }),
    },
    DeleteSnapshot: {
      required: ['SnapshotId'],
      optional: ['Force'],
      perform: (parameters) => deleteSnapshot(disks, parameters),
    },
  };
}
