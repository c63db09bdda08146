/** DescribeFileSystems and DescribeMountTargets: what readers are shown, which may be a while ago. */
import { ApiError } from '../core/api.ts';
import { hasTags } from './disk-tags.ts';
import type { Nas, SimFileSystem, SimMountTarget } from './nas.ts';
import { type Actions, listed, numbered, type Parameters } from './parameters.ts';
import { date } from './route-list.ts';

type Json = Readonly<Record<string, unknown>>;

export const PAGES = { max: 100, usual: 10 };
export const PAGING = ['PageSize', 'PageNumber'];

export const denied = (code: string, message: string, status = 403): ApiError => new ApiError(code, message, status);

/** Of an Extreme file system the name is not told before it leads anywhere, as its users report. */
export const shownDomain = ({ fileSystem, domain, status }: SimMountTarget): string =>
  fileSystem.startsWith('extreme-') && status === 'Pending' ? '' : domain;

const targetJson = (one: SimMountTarget): Json => ({
  MountTargetDomain: shownDomain(one),
  Status: one.status,
  NetworkType: 'Vpc',
  VpcId: one.vpc,
  VswId: one.vswitch,
  AccessGroup: one.group,
  IPVersion: 'IPv4',
  Tags: {},
});

const seenTargets = (nas: Nas, fileSystem: string): SimMountTarget[] =>
  nas.targets.visible().flatMap(([, one]) => (one.fileSystem === fileSystem ? [one] : []));

const fileSystemJson = (nas: Nas, one: SimFileSystem): Json => ({
  FileSystemId: one.id,
  FileSystemType: one.type,
  StorageType: one.storage,
  ProtocolType: one.protocol,
  Status: one.status,
  Capacity: one.capacity,
  ChargeType: 'PayAsYouGo',
  CreateTime: date(one.created),
  Description: one.description,
  EncryptType: one.encryption,
  ...(one.key !== '' && { KMSKeyId: one.key }),
  RegionId: nas.world.region,
  ZoneId: one.zone,
  MeteredSize: 0,
  Tags: { Tag: Object.entries(one.tags).map(([Key, Value]) => ({ Key, Value })) },
  MountTargets: {
    // Other words than those of DescribeMountTargets, as in the reference.
    MountTarget: seenTargets(nas, one.id).map((target) => ({
      ...targetJson(target),
      ...{ Status: target.status.toLowerCase(), NetworkType: 'vpc', AccessGroupName: target.group },
    })),
  },
});

const describe = (nas: Nas, parameters: Parameters): Json => {
  const { FileSystemId: id = '', FileSystemType: types = 'all', VpcId: vpc = '' } = parameters;
  if (id !== '' && nas.fileSystems.seen(id) === undefined) {
    throw denied('InvalidFileSystem.NotFound', 'The specified file system does not exist.', 404);
  }
  const found = nas.fileSystems
    .visible()
    .map(([, one]) => one)
    .filter(
      (one) =>
        (id === '' || one.id === id) &&
        (types === 'all' || listed(types).includes(one.type)) &&
        (vpc === '' || seenTargets(nas, one.id).some((target) => target.vpc === vpc)) &&
        hasTags(parameters, one.tags),
    );
  const { page, around } = numbered(parameters, found, PAGES);
  return { ...around, FileSystems: { FileSystem: page.map((one) => fileSystemJson(nas, one)) } };
};

const describeTargets = (nas: Nas, parameters: Parameters): Json => {
  const { FileSystemId: id = '', MountTargetDomain: domain = '' } = parameters;
  if (nas.fileSystems.seen(id) === undefined) {
    throw denied('InvalidFileSystem.NotFound', 'The specified file system does not exist.', 404);
  }
  const found = seenTargets(nas, id).filter((one) => domain === '' || one.domain === domain);
  if (domain !== '' && found.length === 0) {
    throw denied('InvalidMountTarget.NotFound', 'The specified mount target does not exist.', 404);
  }
  const { page, around } = numbered(parameters, found, PAGES);
  return { ...around, MountTargets: { MountTarget: page.map(targetJson) } };
};

export function nasLists(nas: Nas): Actions {
  return {
    DescribeFileSystems: {
      required: [],
      optional: ['FileSystemId', 'FileSystemType', 'VpcId', 'Tag.N.Key', 'Tag.N.Value', ...PAGING],
      perform: (parameters) => describe(nas, parameters),
    },
    DescribeMountTargets: {
      required: ['FileSystemId'],
      optional: ['MountTargetDomain', ...PAGING],
      perform: (parameters) => describeTargets(nas, parameters),
    },
  };
}
