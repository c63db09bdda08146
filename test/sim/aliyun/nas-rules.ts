/** The actions of NAS 2017-06-26 for permission groups, tags and quotas of folders. Sources: as of `nas-actions.ts`. */
import { ApiError } from '../core/api.ts';
import { tagsOf } from './disk-tags.ts';
import { DEFAULT_GROUP, type Nas, type SimAccessGroup } from './nas.ts';
import { descriptionOf, fileSystemOf } from './nas-actions.ts';
import { denied, PAGES, PAGING } from './nas-list.ts';
import { type Actions, integer, numbered, type Parameters, values } from './parameters.ts';
import { date } from './route-list.ts';

type Json = Readonly<Record<string, unknown>>;

const MOST_TAGS = 20;
/** Levels of folders below the root that a quota may be set at. */
const DEEPEST = 8;

const groupType = ({ FileSystemType: type = 'standard' }: Parameters): SimAccessGroup['type'] =>
  type === 'extreme' ? 'extreme' : 'standard';

const createGroup = (nas: Nas, parameters: Parameters): Json => {
  const { AccessGroupName: name = '' } = parameters;
  if (!/^[a-z][a-z0-9_-]{2,63}$/i.test(name) || parameters.AccessGroupType?.toLowerCase() !== 'vpc') {
    throw new ApiError('InvalidParameter.AccessGroupName', 'The specified AccessGroupName is not valid.');
  }
  const type = groupType(parameters);
  if (nas.groups.get(`${type} ${name}`) !== undefined) {
    throw denied('InvalidAccessGroup.AlreadyExisted', 'The specified AccessGroup has been already existed.');
  }
  if (!nas.quotas.fits('nas_access_groups', nas.state().accessGroups.length)) {
    throw denied('OperationDenied.AccessGroupCountsExceeded', 'The amount of AccessGroup has reached its limits.');
  }
  nas.makeGroup(name, type, descriptionOf(parameters, name), nas.world.core.clock.now());
  return { AccessGroupName: name };
};

const deleteGroup = (nas: Nas, parameters: Parameters): Json => {
  const { AccessGroupName: name = '' } = parameters;
  if (name === DEFAULT_GROUP) {
    throw denied('OperationDenied.DefaultAccessGroupCannotDelete', 'The default AccessGroup can not be deleted.');
  }
  const type = groupType(parameters);
  const inUse = nas.targets
    .entries()
    .some(([, one]) => one.group === name && nas.fileSystems.get(one.fileSystem)?.type === type);
  if (inUse) {
    throw denied(
      'InvalidAccessGroup.AlreadyAttached',
      'The specified AccessGroup is still attached by some MountTarget(s).',
    );
  }
  if (!nas.groups.delete(`${type} ${name}`)) {
    throw denied('InvalidAccessGroup.NotFound', 'The specified AccessGroup does not exist.', 404);
  }
  return {};
};

const describeGroups = (nas: Nas, parameters: Parameters): Json => {
  const { AccessGroupName: name = '' } = parameters;
  const type = groupType(parameters);
  const found = nas.groups
    .visible()
    .map(([, one]) => one)
    .filter((one) => one.type === type && (name === '' || one.name === name));
  if (name !== '' && found.length === 0) {
    throw denied('InvalidAccessGroup.NotFound', 'The specified AccessGroup does not exist.', 404);
  }
  const { page, around } = numbered(parameters, found, PAGES);
  const groups = page.map((one) => ({
    AccessGroupName: one.name,
    AccessGroupType: 'Vpc',
    FileSystemType: one.type,
    Description: one.description,
    CreateTime: date(one.created),
    RegionId: nas.world.region,
    RuleCount: one.name === DEFAULT_GROUP ? 1 : 0,
    MountTargetCount: nas.targets.visible().filter(([, target]) => target.group === one.name).length,
  }));
  return { ...around, AccessGroups: { AccessGroup: groups } };
};

const tag = (nas: Nas, parameters: Parameters): Json => {
  if (parameters.ResourceType !== 'filesystem') {
    throw denied('InvalidResourceType.NotFound', 'The ResourceType provided does not exist in our records.', 404);
  }
  const added = tagsOf(parameters);
  const known = values(parameters, 'ResourceId').map((id) => fileSystemOf(nas, { FileSystemId: id }));
  for (const { tags } of known) {
    if (Object.keys({ ...tags, ...added }).length > MOST_TAGS) {
      throw new ApiError('NumberExceed.Tags', 'The maximum number of Tags is exceeded. The maximum is 20.');
    }
  }
  for (const { id, tags } of known) nas.fileSystems.change(id, { tags: { ...tags, ...added } });
  return {};
};

/** The file system and folder of a request about quotas. */
const folderOf = (
  nas: Nas,
  parameters: Parameters,
): { readonly id: string; readonly path: string; readonly key: string } => {
  const { id, type } = fileSystemOf(nas, parameters);
  const { Path: path = '', UserType: user } = parameters;
  if (type !== 'standard') {
    throw denied('OperationDenied.NotSupported', 'Only General-purpose NAS file systems support directory quotas.');
  }
  if (user !== 'AllUsers') throw new ApiError('InvalidParameter.UserType', 'The simulator knows AllUsers only.');
  const depth = path.split('/').filter((one) => one !== '').length;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: ASCII, as documented
  if (!path.startsWith('/') || depth > DEEPEST || !/^[\x00-\x7f]*$/.test(path)) {
    throw new ApiError('InvalidParameter.Path', 'The specified Path is not valid.');
  }
  if (nas.missingFolders.has(path)) {
    throw denied('InvalidParameter.DirPathNotExist', 'The Dir Path does not exist', 404);
  }
  return { id, path, key: `${id} ${path}` };
};

const setQuota = (nas: Nas, parameters: Parameters): Json => {
  const { id, key } = folderOf(nas, parameters);
  const size = integer(parameters, 'SizeLimit', { min: 0, max: 10 * 1024 * 1024, usual: 0 });
  if (parameters.QuotaType !== 'Enforcement' || size === 0) {
    throw new ApiError('InvalidParameter.QuotaType', 'The simulator knows Enforcement with a SizeLimit only.');
  }
  const used = [...nas.limits.keys()].filter((one) => one.startsWith(`${id} `) && one !== key).length;
  if (!nas.quotas.fits('nas_limited_folders', used)) {
    throw denied(
      'OperationDenied.DirQuotaCountsExceeded',
      'The amount of directories with quotas has reached its limits.',
    );
  }
  nas.limits.set(key, size);
  return { Success: true };
};

const cancelQuota = (nas: Nas, parameters: Parameters): Json => {
  const { key } = folderOf(nas, parameters);
  if (nas.limits.delete(key)) return { Success: true };
  throw denied('InvalidParameter.QuotaNotExistOnPath', 'The specified path does not have quota.', 404);
};

export function nasRules(nas: Nas): Actions {
  const folder = ['FileSystemId', 'Path', 'UserType'];
  return {
    CreateAccessGroup: {
      required: ['AccessGroupName', 'AccessGroupType'],
      optional: ['Description', 'FileSystemType'],
      perform: (parameters) => createGroup(nas, parameters),
    },
    DescribeAccessGroups: {
      required: [],
      optional: ['AccessGroupName', 'FileSystemType', ...PAGING],
      perform: (parameters) => describeGroups(nas, parameters),
    },
    DeleteAccessGroup: {
      required: ['AccessGroupName'],
      optional: ['FileSystemType'],
      perform: (parameters) => deleteGroup(nas, parameters),
    },
    TagResources: {
      required: ['ResourceType', 'ResourceId.N', 'Tag.N.Key', 'Tag.N.Value'],
      optional: [],
      perform: (parameters) => tag(nas, parameters),
    },
    SetDirQuota: {
      required: [...folder, 'QuotaType'],
      optional: ['SizeLimit'],
      perform: (parameters) => setQuota(nas, parameters),
    },
    CancelDirQuota: { required: folder, optional: [], perform: (parameters) => cancelQuota(nas, parameters) },
  };
}
