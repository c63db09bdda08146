/** ModifyVolume and DescribeVolumesModifications. */
import { ApiError } from '../core/api.ts';
import type { Action, Actions, Surroundings } from './action.ts';
import { invalid } from './errors.ts';
import { named } from './machine-actions.ts';
import { type FilterTable, filtered, listOf, type Parameters, page } from './parameters.ts';
import type { Modification, Volume, VolumeShape } from './storage.ts';
import { volumeNamed } from './volume-actions.ts';
import { shapeOf } from './volume-rules.ts';
import type { Xml } from './xml.ts';

const HOUR = 3600_000;

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
  const all = named(new Map(storage.volumes.visible()), 'vol', ids).flatMap((volume) => {
    const { modification } = volume;
    return modification === undefined ? [] : [{ volume, modification }];
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

export const modificationActions: Actions = {
  ModifyVolume: { accepts: ['VolumeId', 'Size', 'VolumeType', 'Iops', 'Throughput'], run: modifyVolume },
  DescribeVolumesModifications: {
    accepts: ['Filter', 'VolumeId', 'MaxResults', 'NextToken'],
    run: describeModifications,
  },
};
