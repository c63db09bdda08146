/** What EFS does: file systems, mount targets, access points and their tags, version 2015-02-01. */
import { parseAddress } from '../../../shared/cidr.ts';
import type { Quotas } from '../core/quotas.ts';
import {
  accessPointAnswer,
  badRequest,
  fileSystemAnswer,
  type Json,
  mountTargetAnswer,
  noFileSystem,
  refused,
} from './efs-answers.ts';
import { checkTags, marked, objectOf, paged, tagsIn, textsOf, wanted } from './efs-input.ts';
import type { FileStorage, FileSystem, MountTarget } from './file-storage.ts';
import type { Tags } from './storage.ts';
import type { World } from './world.ts';

export interface EfsAround {
  readonly world: World;
  readonly files: FileStorage;
  readonly quotas: Quotas;
  /** Entries on a page where the caller does not ask for a number. */
  readonly pageSize: number;
}

/** Of the path and the query, and the body. */
export interface Input {
  readonly parameters: Readonly<Record<string, string>>;
  readonly body: Readonly<Record<string, unknown>>;
}

export interface Output {
  readonly status: number;
  readonly body?: Json;
}

export type EfsAction = (input: Input, around: EfsAround) => Output;

/** Of two calls that come at once the second finds it as well: writes see the truth. */
const fileSystem = ({ files }: EfsAround, id: string): FileSystem => {
  const found = files.fileSystems.get(id);
  if (found === undefined) throw noFileSystem(id);
  return found;
};

const answerOf = ({ world, files }: EfsAround, one: FileSystem): Json => {
  const targets = files.mountTargets.visible().filter(([, { fileSystem }]) => fileSystem === one.id);
  return fileSystemAnswer(world, one, targets.length);
};

const createFileSystem: EfsAction = ({ body }, around) => {
  const { files, quotas, world } = around;
  const token = wanted(body, 'CreationToken');
  if (token.length > 64) throw badRequest('CreationToken must have at most 64 characters.');
  const before = files.fileSystems.entries().find(([, one]) => one.token === token)?.[1];
  if (before !== undefined) {
    const message = `File system '${before.id}' already exists with creation token '${token}'`;
    throw refused('FileSystemAlreadyExists', message, { FileSystemId: before.id });
  }
  const { PerformanceMode: performance = 'generalPurpose', ThroughputMode: throughput = 'bursting' } = body;
  const { Encrypted: encrypted = false, KmsKeyId: key, AvailabilityZoneName: zone } = body;
  const { ProvisionedThroughputInMibps: provisioned } = body;
  if (performance !== 'generalPurpose' && performance !== 'maxIO') throw badRequest('Invalid PerformanceMode.');
  if (throughput !== 'bursting' && throughput !== 'provisioned' && throughput !== 'elastic') {
    throw badRequest('Invalid ThroughputMode.');
  }
  if (typeof encrypted !== 'boolean') throw badRequest('Encrypted must be true or false.');
  if (key !== undefined && !encrypted) throw badRequest('KmsKeyId is only valid where Encrypted is true.');
  if ((throughput === 'provisioned') !== (provisioned !== undefined)) {
    throw badRequest('ProvisionedThroughputInMibps goes with ThroughputMode provisioned, and only with it.');
  }
  if (performance === 'maxIO' && (throughput === 'elastic' || zone !== undefined)) {
    throw badRequest('maxIO is not supported with elastic throughput, nor for One Zone file systems.');
  }
  if (zone !== undefined && !world.zones.includes(String(zone))) {
    throw refused('UnsupportedAvailabilityZone', `One Zone file systems are not supported in ${zone}.`);
  }
  const tags = checkTags(tagsIn(body));
  if (!quotas.fits('file-systems', files.fileSystems.entries().length)) {
    throw refused('FileSystemLimitExceeded', 'You have reached the maximum number of file systems for this account.');
  }
  const made = files.create({
    ...{ token, performance, throughput, encrypted, tags },
    provisioned: typeof provisioned === 'number' ? provisioned : undefined,
    key: encrypted ? String(key ?? `arn:aws:kms:${world.region}:${world.account}:key/default`) : undefined,
    zone: zone === undefined ? undefined : String(zone),
  });
  return { status: 201, body: answerOf(around, made) };
};

const describeFileSystems: EfsAction = ({ parameters }, around) => {
  const { FileSystemId: id, CreationToken: token } = parameters;
  const all = around.files.fileSystems.visible().map(([, one]) => one);
  const found = all.filter((one) => (id ?? one.id) === one.id && (token ?? one.token) === one.token);
  if (id !== undefined && found.length === 0) throw noFileSystem(id);
  const { items, next } = marked(found, parameters, around.pageSize);
  const FileSystems = items.map((one) => answerOf(around, one));
  return { status: 200, body: { Marker: parameters.Marker, FileSystems, NextMarker: next } };
};

const deleteFileSystem: EfsAction = ({ parameters }, around) => {
  const { id } = fileSystem(around, parameters.FileSystemId ?? '');
  if (around.files.targetsOf(id).length > 0) {
    throw refused('FileSystemInUse', `File system '${id}' has mount targets created in it.`);
  }
  around.files.delete(id);
  return { status: 204 };
};

/** A file system's targets are all in one VPC, one in each zone at most. */
const checkPlace = ({ id, zone }: FileSystem, others: readonly MountTarget[], vpc: string, here: string): void => {
  if (zone !== undefined && zone !== here) {
    const message = `The file system is in ${zone}: a mount target in ${here} cannot be created.`;
    throw refused('AvailabilityZonesMismatch', message);
  }
  if (others.some((one) => one.vpc !== vpc)) {
    throw refused('MountTargetConflict', `The mount targets of file system ${id} are in another VPC`);
  }
  if (others.some((one) => one.zone === here))
    throw refused('MountTargetConflict', 'mount target already exists in this AZ');
};

const createMountTarget: EfsAction = ({ body }, around) => {
  const { world, files, quotas } = around;
  const found = fileSystem(around, wanted(body, 'FileSystemId'));
  const subnet = world.subnets.get(wanted(body, 'SubnetId'));
  if (subnet === undefined) throw refused('SubnetNotFound', `The subnet ID '${body.SubnetId}' does not exist`);
  if (found.state !== 'available') {
    throw refused('IncorrectFileSystemLifeCycleState', `File system '${found.id}' is not available: ${found.state}.`);
  }
  checkPlace(found, files.targetsOf(found.id), subnet.vpc, subnet.zone);
  const groups = textsOf(body.SecurityGroups) ?? [world.defaultGroup(subnet.vpc)];
  if (groups.length > quotas.limit('groups-per-target')) {
    throw refused('SecurityGroupLimitExceeded', 'The maximum number of security groups per mount target was exceeded.');
  }
  for (const group of groups) {
    if (world.groups.get(group)?.vpc === subnet.vpc) continue;
    throw refused('SecurityGroupNotFound', `One or more security groups not found: ${group}`);
  }
  const used = [...world.interfaces.values()].filter(({ vpc }) => vpc === subnet.vpc).flatMap((one) => one.addresses);
  const { IpAddress: address } = body;
  if (typeof address === 'string' && used.includes(parseAddress(address).text)) {
    throw refused('IpAddressInUse', `The address ${address} is in use.`);
  }
  const inVpc = files.mountTargets.entries().filter(([, one]) => one.vpc === subnet.vpc).length;
  if (!quotas.fits('targets-per-vpc', inVpc)) {
    throw refused('NetworkInterfaceLimitExceeded', 'You have reached the maximum number of network interfaces.');
  }
  try {
    const made = files.createTarget(found.id, subnet, groups, typeof address === 'string' ? address : undefined);
    // The answer was made before anything else happened, even where that takes no time.
    return { status: 200, body: mountTargetAnswer(world, made) };
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw refused('NoFreeAddressesInSubnet', `The subnet ${subnet.id} has no free addresses.`);
  }
};

const describeMountTargets: EfsAction = ({ parameters }, { world, files, pageSize }) => {
  const { FileSystemId: system, MountTargetId: id, AccessPointId: point } = parameters;
  if ([system, id, point].filter((one) => one !== undefined).length !== 1) {
    throw badRequest('Exactly one of FileSystemId, MountTargetId and AccessPointId must be given.');
  }
  const through = point === undefined ? system : files.accessPoints.seen(point)?.fileSystem;
  if (point !== undefined && through === undefined) {
    throw refused('AccessPointNotFound', `Access point ${point} does not exist.`);
  }
  if (system !== undefined && files.fileSystems.seen(system) === undefined) throw noFileSystem(system);
  const all = files.mountTargets.visible().map(([, one]) => one);
  const found = all.filter((one) => one.id === id || one.fileSystem === through);
  if (id !== undefined && found.length === 0) {
    throw refused('MountTargetNotFound', `Mount target '${id}' does not exist.`);
  }
  const { items, next } = marked(found, parameters, pageSize);
  const MountTargets = items.map((one) => mountTargetAnswer(world, one));
  return { status: 200, body: { Marker: parameters.Marker, MountTargets, NextMarker: next } };
};

const mountTarget = ({ files }: EfsAround, id = ''): MountTarget => {
  const found = files.mountTargets.get(id);
  if (found === undefined) throw refused('MountTargetNotFound', `Mount target '${id}' does not exist.`);
  return found;
};

const deleteMountTarget: EfsAction = ({ parameters }, around) => {
  around.files.deleteTarget(mountTarget(around, parameters.MountTargetId).id);
  return { status: 204 };
};

const describeGroups: EfsAction = ({ parameters }, around) => ({
  status: 200,
  body: { SecurityGroups: mountTarget(around, parameters.MountTargetId).groups },
});

const createAccessPoint: EfsAction = ({ body }, around) => {
  const { world, files, quotas } = around;
  const token = wanted(body, 'ClientToken');
  const { id, state } = fileSystem(around, wanted(body, 'FileSystemId'));
  if (state !== 'available') {
    throw refused('IncorrectFileSystemLifeCycleState', `File system '${id}' is not available: ${state}.`);
  }
  const points = files.accessPoints.entries().map(([, one]) => one);
  const before = points.find((one) => one.token === token);
  if (before !== undefined) {
    const message = `Access point already exists with client token '${token}'`;
    throw refused('AccessPointAlreadyExists', message, { AccessPointId: before.id });
  }
  if (!quotas.fits('access-points', points.filter((one) => one.fileSystem === id).length)) {
    throw refused('AccessPointLimitExceeded', `The maximum number of access points of ${id} has been reached.`);
  }
  const made = files.createAccessPoint({
    ...{ token, fileSystem: id, tags: checkTags(tagsIn(body)) },
    user: objectOf(body.PosixUser),
    root: objectOf(body.RootDirectory) ?? { Path: '/' },
  });
  return { status: 200, body: accessPointAnswer(world, made) };
};

const describeAccessPoints: EfsAction = ({ parameters }, { world, files, pageSize }) => {
  const { FileSystemId: system, AccessPointId: id } = parameters;
  const all = files.accessPoints.visible().map(([, one]) => one);
  const found = all.filter((one) => (id ?? one.id) === one.id && (system ?? one.fileSystem) === one.fileSystem);
  if (id !== undefined && found.length === 0) {
    throw refused('AccessPointNotFound', `Access point ${id} does not exist.`);
  }
  const { items, next } = paged(found, parameters, pageSize);
  return { status: 200, body: { AccessPoints: items.map((one) => accessPointAnswer(world, one)), NextToken: next } };
};

const deleteAccessPoint: EfsAction = ({ parameters }, { files }) => {
  const { AccessPointId: id = '' } = parameters;
  if (files.accessPoints.get(id) === undefined) {
    throw refused('AccessPointNotFound', `Access point ${id} does not exist.`);
  }
  files.deleteAccessPoint(id);
  return { status: 204 };
};

/** Whose tags they are, by an id or an ARN. */
const tagged = ({ files }: EfsAround, resource = '') => {
  const id = resource.slice(resource.lastIndexOf('/') + 1);
  if (id.startsWith('fsap-')) {
    const found = files.accessPoints.get(id);
    if (found === undefined) throw refused('AccessPointNotFound', `Access point ${id} does not exist.`);
    return { tags: found.tags, set: (tags: Tags) => files.accessPoints.change(id, { tags }) };
  }
  const found = files.fileSystems.get(id);
  if (found === undefined) throw noFileSystem(id);
  return { tags: found.tags, set: (tags: Tags) => files.fileSystems.change(id, { tags }) };
};

const tagResource: EfsAction = ({ parameters, body }, around) => {
  const { tags, set } = tagged(around, parameters.ResourceId);
  set(checkTags({ ...tags, ...tagsIn(body) }));
  return { status: 200 };
};

const untagResource: EfsAction = ({ parameters }, around) => {
  const { tags, set } = tagged(around, parameters.ResourceId);
  const gone = (parameters.tagKeys ?? '').split(',');
  set(Object.fromEntries(Object.entries(tags).filter(([name]) => !gone.includes(name))));
  return { status: 200 };
};

const listTags: EfsAction = ({ parameters }, around) => {
  const { tags } = tagged(around, parameters.ResourceId);
  return { status: 200, body: { Tags: Object.entries(tags).map(([Key, Value]) => ({ Key, Value })) } };
};

/** Method and path below the version, and what it does. */
export const EFS_ACTIONS: Readonly<Record<string, { readonly on: string; readonly run: EfsAction }>> = {
  CreateFileSystem: { on: 'POST file-systems', run: createFileSystem },
  DescribeFileSystems: { on: 'GET file-systems', run: describeFileSystems },
  DeleteFileSystem: { on: 'DELETE file-systems/FileSystemId', run: deleteFileSystem },
  CreateMountTarget: { on: 'POST mount-targets', run: createMountTarget },
  DescribeMountTargets: { on: 'GET mount-targets', run: describeMountTargets },
  DeleteMountTarget: { on: 'DELETE mount-targets/MountTargetId', run: deleteMountTarget },
  DescribeMountTargetSecurityGroups: { on: 'GET mount-targets/MountTargetId/security-groups', run: describeGroups },
  CreateAccessPoint: { on: 'POST access-points', run: createAccessPoint },
  DescribeAccessPoints: { on: 'GET access-points', run: describeAccessPoints },
  DeleteAccessPoint: { on: 'DELETE access-points/AccessPointId', run: deleteAccessPoint },
  TagResource: { on: 'POST resource-tags/ResourceId', run: tagResource },
  UntagResource: { on: 'DELETE resource-tags/ResourceId', run: untagResource },
  ListTagsForResource: { on: 'GET resource-tags/ResourceId', run: listTags },
};
