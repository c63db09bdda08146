/** DescribeDisks and DescribeSnapshots: what readers are shown, which may be a while ago. */
import { ApiError } from '../core/api.ts';
import { hasTags, tagsJson } from './disk-tags.ts';
import type { Disks, SimDisk, SimSnapshot } from './disks.ts';
import { fits, pageOf } from './ecs-actions.ts';
import { type Actions, jsonList, type Parameters } from './parameters.ts';
import { date } from './route-list.ts';
import type { World } from './world.ts';

type Json = Readonly<Record<string, unknown>>;

/** The instance is told of disks that are there; of one on its way it is not documented, and not told here. */
const diskJson = (world: World, disk: SimDisk): Json => {
  const instance = disk.status === 'Attaching' ? '' : disk.instance;
  // Not where the machine's kernel has it: names are given by the hypervisor's books.
  const device = instance === '' ? '' : '/dev/xvdb';
  return {
    DiskId: disk.id,
    DiskName: disk.name,
    Description: disk.description,
    RegionId: world.region,
    ZoneId: disk.zone,
    Category: disk.category,
    PerformanceLevel: disk.level,
    Size: disk.size,
    Status: disk.status,
    Type: 'data',
    Portable: disk.portable,
    DiskChargeType: disk.portable ? 'PostPaid' : 'PrePaid',
    SerialNumber: disk.serial,
    InstanceId: instance,
    Device: device,
    Attachments: {
      Attachment: instance === '' ? [] : [{ InstanceId: instance, Device: device, AttachedTime: date(disk.created) }],
    },
    MultiAttach: 'Disabled',
    Encrypted: disk.encrypted,
    KMSKeyId: disk.key,
    ...(disk.category === 'cloud_auto' && { ProvisionedIops: disk.iops }),
    SourceSnapshotId: disk.snapshot,
    DeleteWithInstance: disk.deleteWithInstance,
    CreationTime: date(disk.created),
    OperationLocks: { OperationLock: disk.locks.map((LockReason) => ({ LockReason })) },
    Tags: tagsJson(disk.tags),
  };
};

const snapshotJson = (disks: Disks, one: SimSnapshot): Json => ({
  SnapshotId: one.id,
  SnapshotName: one.name,
  Description: one.description,
  SourceDiskId: one.disk,
  SourceDiskSize: String(one.size),
  SourceDiskType: 'data',
  Status: one.status,
  Progress: `${disks.progress(one)}%`,
  // With instant access it would be true from the start.
  Available: one.status === 'accomplished',
  Encrypted: one.encrypted,
  Usage: one.used ? 'disk' : 'none',
  CreationTime: date(one.created),
  Tags: tagsJson(one.tags),
});

/** The ids of a request; refused when one of them can be none. */
const idsOf = (parameters: Parameters, name: string, kind: RegExp): string[] | undefined => {
  const ids = jsonList(parameters, name);
  if (ids?.every((id) => kind.test(id)) ?? true) return ids;
  throw new ApiError(`Invalid${name}.Malformed`, `The specified ${name} is not valid.`);
};

const describeDisks = (world: World, disks: Disks, parameters: Parameters): Json => {
  const ids = idsOf(parameters, 'DiskIds', /^d-\w+$/);
  const found = disks.disks
    .visible()
    .map(([, disk]) => disk)
    .filter(
      (disk) =>
        (ids === undefined || ids.includes(disk.id)) &&
        fits(parameters.InstanceId, disk.instance) &&
        fits(parameters.ZoneId, disk.zone) &&
        fits(parameters.Status === 'All' ? '' : parameters.Status, disk.status) &&
        fits(parameters.Category, disk.category) &&
        fits(parameters.DiskName, disk.name) &&
        fits(parameters.SnapshotId, disk.snapshot) &&
        hasTags(parameters, disk.tags),
    );
  const { page, around } = pageOf(parameters, found, 500);
  return { ...around, Disks: { Disk: page.map((one) => diskJson(world, one)) } };
};

const describeSnapshots = (disks: Disks, parameters: Parameters): Json => {
  const ids = idsOf(parameters, 'SnapshotIds', /^s-\w+$/);
  const found = disks.snapshots
    .visible()
    .map(([, snapshot]) => snapshot)
    .filter(
      (one) =>
        (ids === undefined || ids.includes(one.id)) &&
        fits(parameters.DiskId, one.disk) &&
        fits(parameters.SnapshotName, one.name) &&
        fits(parameters.Status === 'all' ? '' : parameters.Status, one.status) &&
        hasTags(parameters, one.tags),
    );
  const { page, around } = pageOf(parameters, found, 100);
  return { ...around, Snapshots: { Snapshot: page.map((one) => snapshotJson(disks, one)) } };
};

export function diskLists(world: World, disks: Disks): Actions {
  const common = ['Status', 'Tag.N.Key', 'Tag.N.Value', 'PageNumber', 'PageSize', 'MaxResults', 'NextToken'];
  return {
    DescribeDisks: {
      required: ['RegionId'],
      optional: ['DiskIds', 'InstanceId', 'ZoneId', 'Category', 'DiskName', 'SnapshotId', ...common],
      perform: (parameters) => describeDisks(world, disks, parameters),
    },
    DescribeSnapshots: {
      required: ['RegionId'],
      optional: ['SnapshotIds', 'DiskId', 'SnapshotName', ...common],
      perform: (parameters) => describeSnapshots(disks, parameters),
    },
  };
}
