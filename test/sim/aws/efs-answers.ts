/** What EFS answers, and its refusals: codes and statuses are those of the vendor's description of the API. */
import { ApiError } from '../core/api.ts';
import type { AccessPoint, FileSystem, MountTarget } from './file-storage.ts';
import type { Tags } from './storage.ts';
import { type World, zoneId } from './world.ts';

export type Json = string | number | boolean | null | undefined | readonly Json[] | { readonly [name: string]: Json };

/** A refusal that says something beside its message. */
export class EfsError extends ApiError {
  readonly more: Readonly<Record<string, string>>;
  constructor(code: string, message: string, status: number, more: Readonly<Record<string, string>> = {}) {
    super(code, message, status);
    this.more = more;
  }
}

const STATUSES: Readonly<Record<string, number>> = {
  BadRequest: 400,
  ValidationException: 400,
  AvailabilityZonesMismatch: 400,
  SecurityGroupLimitExceeded: 400,
  SecurityGroupNotFound: 400,
  SubnetNotFound: 400,
  UnsupportedAvailabilityZone: 400,
  AccessDeniedException: 403,
  AccessPointLimitExceeded: 403,
  FileSystemLimitExceeded: 403,
  AccessPointNotFound: 404,
  FileSystemNotFound: 404,
  MountTargetNotFound: 404,
  AccessPointAlreadyExists: 409,
  FileSystemAlreadyExists: 409,
  FileSystemInUse: 409,
  IncorrectFileSystemLifeCycleState: 409,
  IncorrectMountTargetState: 409,
  IpAddressInUse: 409,
  MountTargetConflict: 409,
  NetworkInterfaceLimitExceeded: 409,
  NoFreeAddressesInSubnet: 409,
  ThrottlingException: 429,
  TooManyRequests: 429,
  InternalServerError: 500,
  InsufficientThroughputCapacity: 503,
  ServiceUnavailableException: 503,
  DependencyTimeout: 504,
};

export const refused = (code: string, message: string, more?: Readonly<Record<string, string>>): EfsError =>
  new EfsError(code, message, STATUSES[code] ?? 400, more);

export const badRequest = (message: string): EfsError => refused('BadRequest', message);

export const noFileSystem = (id: string): EfsError =>
  refused('FileSystemNotFound', `File system '${id}' does not exist.`);

const tagList = (tags: Tags): Json => Object.entries(tags).map(([Key, Value]) => ({ Key, Value }));

const seconds = (ms: number): number => ms / 1000;

export const arn = ({ partition, region, account }: World, resource: string): string =>
  `arn:${partition}:elasticfilesystem:${region}:${account}:${resource}`;

export const fileSystemAnswer = (world: World, one: FileSystem, targets: number): Json => ({
  OwnerId: world.account,
  CreationToken: one.token,
  FileSystemId: one.id,
  FileSystemArn: arn(world, `file-system/${one.id}`),
  CreationTime: seconds(one.created),
  LifeCycleState: one.state,
  Name: one.tags.Name,
  NumberOfMountTargets: targets,
  SizeInBytes: { Value: 6144, Timestamp: seconds(one.created), ValueInIA: 0, ValueInStandard: 6144, ValueInArchive: 0 },
  PerformanceMode: one.performance,
  Encrypted: one.encrypted,
  KmsKeyId: one.key,
  ThroughputMode: one.throughput,
  ProvisionedThroughputInMibps: one.provisioned,
  AvailabilityZoneName: one.zone,
  AvailabilityZoneId: one.zone === undefined ? undefined : zoneId(one.zone),
  Tags: tagList(one.tags),
  FileSystemProtection: { ReplicationOverwriteProtection: 'ENABLED' },
});

export const mountTargetAnswer = (world: World, one: MountTarget): Json => ({
  OwnerId: world.account,
  MountTargetId: one.id,
  FileSystemId: one.fileSystem,
  SubnetId: one.subnet,
  LifeCycleState: one.state,
  IpAddress: one.address,
  NetworkInterfaceId: one.interface,
  AvailabilityZoneId: zoneId(one.zone),
  AvailabilityZoneName: one.zone,
  VpcId: one.vpc,
});

export const accessPointAnswer = (world: World, one: AccessPoint): Json => ({
  ClientToken: one.token,
  Name: one.tags.Name,
  Tags: tagList(one.tags),
  AccessPointId: one.id,
  AccessPointArn: arn(world, `access-point/${one.id}`),
  FileSystemId: one.fileSystem,
  PosixUser: one.user as Json,
  RootDirectory: one.root as Json,
  OwnerId: world.account,
  LifeCycleState: one.state,
});
