/** CreateVolume, DeleteVolume, AttachVolume, DetachVolume and DescribeVolumes. */
import { ApiError } from '../core/api.ts';
import type { Action, Actions, Surroundings } from './action.ts';
import { checkId, invalid, missing, notFound } from './errors.ts';
import { attachable } from './instance-types.ts';
import { named } from './machine-actions.ts';
import { booleanOf, type FilterTable, filtered, listOf, type Parameters, page, tagSet } from './parameters.ts';
import { tagsFor } from './resource-tags.ts';
import type { Attachment, Storage, Volume } from './storage.ts';
import { shapeOf } from './volume-rules.ts';
import type { Xml } from './xml.ts';

const CREATE = [
  ...['AvailabilityZone', 'Size', 'VolumeType', 'Iops', 'Throughput', 'Encrypted', 'KmsKeyId', 'SnapshotId'],
  ...['TagSpecification', 'ClientToken', 'MultiAttachEnabled'],
];

const iso = (ms: number): string => new Date(ms).toISOString();

const attachmentElements = (volume: string, { instance, device, state, since, deleteOnTermination }: Attachment) => ({
  volumeId: volume,
  instanceId: instance,
  device,
  status: state,
  attachTime: iso(since),
  deleteOnTermination,
});

const volumeElements = (volume: Volume): Record<string, Xml> => ({
  volumeId: volume.id,
  size: volume.size,
  snapshotId: volume.snapshot ?? '',
  availabilityZone: volume.zone,
  status: volume.state,
  createTime: iso(volume.created),
  attachmentSet: volume.attachment === undefined ? [] : [attachmentElements(volume.id, volume.attachment)],
  tagSet: tagSet(volume.tags),
  volumeType: volume.type,
  iops: volume.iops,
  throughput: volume.throughput,
  encrypted: volume.encrypted,
  kmsKeyId: volume.key,
  multiAttachEnabled: false,
});

/** A volume that a writing call is about: the truth, not what readers see. */
export const volumeNamed = ({ VolumeId: id }: Parameters, storage: Storage): Volume => {
  if (id === undefined) throw missing('volumeId');
  checkId('vol', id);
  const found = storage.volumes.get(id);
  if (found === undefined) throw notFound('vol', [id]);
  return found;
};

const sourceOf = (id: string | undefined, storage: Storage) => {
  if (id === undefined) return undefined;
  checkId('snap', id);
  const found = storage.snapshots.get(id);
  if (found === undefined) throw notFound('snap', [id]);
  if (found.state !== 'completed') {
    throw new ApiError('IncorrectState', `Snapshot is in invalid state - ${found.state}`);
  }
  return found;
};

const keyFor = (parameters: Parameters, isFromEncrypted: boolean) => {
  const isEncrypted = booleanOf(parameters, 'Encrypted') ?? isFromEncrypted;
  const { KmsKeyId: key } = parameters;
  if (key !== undefined && !isEncrypted) {
    throw new ApiError(
      'InvalidParameterDependency',
      'The parameter [KmsKeyId] requires the parameter Encrypted to be set.',
    );
  }
  if (isFromEncrypted && booleanOf(parameters, 'Encrypted') === false) {
    throw invalid('Volumes of encrypted snapshots are encrypted.');
  }
  return { isEncrypted, key };
};

const makeVolume = (parameters: Parameters, around: Surroundings, failed: () => void): Record<string, Xml> => {
  const { world, quotas, storage } = around;
  const { AvailabilityZone: zone } = parameters;
  if (zone === undefined) throw missing('availabilityZone');
  if (!world.zones.includes(zone)) {
    throw new ApiError('InvalidZone.NotFound', `The zone '${zone}' does not exist.`);
  }
  const source = sourceOf(parameters.SnapshotId, storage);
  const shape = shapeOf(parameters, source === undefined ? {} : { size: source.size });
  if (source !== undefined && shape.size < source.size) {
    throw invalid(
      `Volume of ${shape.size}GiB is smaller than snapshot '${source.id}', expect size >= ${source.size}GiB`,
    );
  }
  const { isEncrypted, key } = keyFor(parameters, source?.encrypted ?? false);
  const usual = `arn:${world.partition}:kms:${world.region}:${world.account}:alias/aws/ebs`;
  const tags = tagsFor('volume', parameters);
  if (!quotas.fits('volumes', storage.volumes.entries().length)) {
    throw new ApiError('VolumeLimitExceeded', 'You have exceeded your maximum number of volumes.');
  }
  const gib = storage.volumes.entries().reduce((sum, [, { size }]) => sum + size, 0);
  if (!quotas.fits('volume-gib', gib, shape.size)) {
    const message = `You have exceeded your maximum ${shape.type} storage limit of ${quotas.limit('volume-gib')} GiB in this region. Please contact AWS Support to request an Elastic Block Store service limit increase.`;
    throw new ApiError('VolumeLimitExceeded', message);
  }
  // Without the right to a key the request succeeds all the same, and the volume vanishes again.
  const isUnusable = key !== undefined && !storage.keys.has(key);
  const volume = storage.create(
    {
      ...shape,
      ...{ zone, tags, encrypted: isEncrypted },
      ...{ key: isEncrypted ? (key ?? usual) : undefined, snapshot: parameters.SnapshotId },
    },
    isUnusable ? failed : undefined,
  );
  return volumeElements(volume);
};

const createVolume: Action['run'] = (parameters, around) => {
  const { ClientToken: token, ...rest } = parameters;
  if (token === undefined) return makeVolume(parameters, around, () => undefined);
  if (token.length > 64) throw invalid('Invalid client token: it is longer than 64 ASCII characters.');
  const before = around.tokens.recall('CreateVolume', token, rest);
  if (before === 'mismatch') {
    throw new ApiError(
      'IdempotentParameterMismatch',
      'The client token you have provided is associated with a resource that is already deleted, or with other parameters. Please use a different client token.',
    );
  }
  if (before !== undefined) return before.result;
  // Whoever repeats a request that has failed after it was answered gets no second volume by the same token.
  const burn = (): void => around.tokens.remember('CreateVolume', token, 'burned', {});
  const result = makeVolume(parameters, around, burn);
  around.tokens.remember('CreateVolume', token, rest, result);
  return result;
};

const deleteVolume: Action['run'] = (parameters, { storage }) => {
  const { id, state, attachment } = volumeNamed(parameters, storage);
  if (attachment !== undefined) {
    throw new ApiError('VolumeInUse', `Volume ${id} is currently attached to ${attachment.instance}`);
  }
  if (state === 'deleting') throw notFound('vol', [id]);
  if (state === 'creating') throw new ApiError('IncorrectState', `The volume '${id}' is 'creating'`);
  storage.delete(id);
  return { return: true };
};

const DEVICE = /^\/dev\/(sd[b-z]|sd[b-z][1-9]|sd[b-z]1[0-5]|xvd[b-z]|xvd[a-d][a-z])$/;

const attachVolume: Action['run'] = (parameters, around) => {
  const { world, storage } = around;
  const { InstanceId: host, Device: device } = parameters;
  if (host === undefined) throw missing('instanceId');
  if (device === undefined) throw missing('device');
  const volume = volumeNamed(parameters, storage);
  checkId('i', host);
  const instance = world.instances.get(host);
  if (instance === undefined) throw notFound('i', [host]);
  if (!DEVICE.test(device)) {
    throw invalid(`Value (${device}) for parameter device is invalid. ${device} is not a valid EBS device name.`);
  }
  if (volume.attachment !== undefined) {
    throw new ApiError('VolumeInUse', `${volume.id} is already attached to an instance`);
  }
  if (volume.state !== 'available') throw new ApiError('IncorrectState', `${volume.id} is not 'available'.`);
  if (instance.state !== 'running' && instance.state !== 'stopped') {
    throw new ApiError('IncorrectState', `Instance '${host}' is not 'running'.`);
  }
  const zone = world.zoneOf(host);
  if (zone !== volume.zone) {
    throw new ApiError(
      'InvalidVolume.ZoneMismatch',
      `The volume '${volume.id}' is not in the same availability zone as instance '${host}'`,
    );
  }
  const there = storage.of(host);
  if (there.some(({ attachment }) => attachment?.device === device) || device === '/dev/xvda') {
    throw invalid(`Invalid value '${device}' for unixDevice. Attachment point ${device} is already in use`);
  }
  if (there.length >= attachable(instance.type, world.interfacesOf(host).length)) {
    throw new ApiError('AttachmentLimitExceeded', `The maximum number of attachments for instance ${host} is reached.`);
  }
  return attachmentElements(volume.id, storage.attach(volume.id, host, device));
};

const detachVolume: Action['run'] = (parameters, { storage }) => {
  const { InstanceId: host, Device: device } = parameters;
  const { id, state, attachment } = volumeNamed(parameters, storage);
  if (attachment === undefined) {
    throw new ApiError('IncorrectState', `Volume '${id}' is in the '${state}' state.`);
  }
  if ((host ?? attachment.instance) !== attachment.instance || (device ?? attachment.device) !== attachment.device) {
    throw new ApiError(
      'InvalidAttachment.NotFound',
      `The volume '${id}' is not attached to instance '${host}' as ${device}`,
    );
  }
  const force = booleanOf(parameters, 'Force') ?? false;
  if ((attachment.state === 'detaching' || attachment.state === 'busy') && !force) {
    throw new ApiError('IncorrectState', `Volume '${id}' is in the '${attachment.state}' state.`);
  }
  const detaching = storage.detach(id, force);
  return attachmentElements(id, detaching ?? attachment);
};

const ofAttachment = (look: (each: Attachment) => string) => (volume: Volume) =>
  volume.attachment === undefined ? [] : [look(volume.attachment)];

const filters: FilterTable<Volume> = {
  'volume-id': ({ id }) => [id],
  status: ({ state }) => [state],
  size: ({ size }) => [String(size)],
  encrypted: ({ encrypted }) => [String(encrypted)],
  'volume-type': ({ type }) => [type],
  'availability-zone': ({ zone }) => [zone],
  'create-time': ({ created }) => [iso(created)],
  'snapshot-id': ({ snapshot }) => [snapshot ?? ''],
  'attachment.instance-id': ofAttachment(({ instance }) => instance),
  'attachment.device': ofAttachment(({ device }) => device),
  'attachment.status': ofAttachment(({ state }) => state),
  'attachment.delete-on-termination': ofAttachment(({ deleteOnTermination }) => String(deleteOnTermination)),
};

const describeVolumes = (parameters: Parameters, { storage, pageSize }: Surroundings) => {
  const all = named(new Map(storage.volumes.visible()), 'vol', listOf(parameters, 'VolumeId'));
  const found = filtered(all, parameters, filters, ({ tags }) => tags);
  const { items, next } = page(found, parameters, { least: 5, most: 1000, usual: pageSize, ids: 'VolumeId' });
  return { volumeSet: items.map(volumeElements), nextToken: next };
};

export const volumeActions: Actions = {
  CreateVolume: { accepts: CREATE, run: createVolume },
  DeleteVolume: { accepts: ['VolumeId'], run: deleteVolume },
  AttachVolume: { accepts: ['VolumeId', 'InstanceId', 'Device'], run: attachVolume },
  DetachVolume: { accepts: ['VolumeId', 'InstanceId', 'Device', 'Force'], run: detachVolume },
  DescribeVolumes: { accepts: ['Filter', 'VolumeId', 'MaxResults', 'NextToken'], run: describeVolumes },
};
