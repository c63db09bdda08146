/** The actions of ECS 2014-05-26 that make, change and remove disks. Codes and statuses: its reference of each action. */
import { ApiError } from '../core/api.ts';
import { TokenMemory } from '../core/token-memory.ts';
import { checkSize, isCategory, LEVELS, mostIops } from './disk-kinds.ts';
import { tagsOf } from './disk-tags.ts';
import type { Disks, SimDisk } from './disks.ts';
import { type Action, type Actions, flag, integer, type Parameters } from './parameters.ts';
import type { Instance, World } from './world.ts';

export const MOST_GIB = 65_536;

const NAME = /^\p{L}[\p{L}0-9:_.-]{1,127}$/u;

/** A name that people see, as the vendor takes it. */
export const nameOf = (parameters: Parameters, name: string): string => {
  const text = parameters[name] ?? '';
  if (text === '' || NAME.test(text)) return text;
  throw new ApiError(`Invalid${name}.Malformed`, `The specified parameter ${name} is not valid.`);
};

const refused = (code: string, message: string, status = 403): ApiError => new ApiError(code, message, status);

export const wrongStatus = (more = ''): ApiError =>
  refused(`IncorrectDiskStatus${more}`, 'The current disk status does not support this operation.');

export const creatingSnapshot = (): ApiError =>
  refused(
    'DiskCreatingSnapshot',
    'The operation is denied due to a snapshot of the specified disk is not completed yet.',
  );

/** The disk, when something may be done with it. */
export const usableDisk = (disks: Disks, id = ''): SimDisk => {
  const disk = disks.disks.get(id);
  if (disk === undefined) throw refused('InvalidDiskId.NotFound', 'The specified disk does not exist.', 404);
  if (disk.locks.includes('financial')) {
    throw refused('DiskInArrears', 'The specified operation is denied as your disk owning fee.');
  }
  if (disk.locks.length > 0) {
    throw refused('InstanceLockedForSecurity', 'The disk is locked due to security.');
  }
  return disk;
};

export const isBeingCopied = (disks: Disks, id: string): boolean =>
  disks.allSnapshots().some(({ disk, status }) => disk === id && status === 'progressing');

/** `ClientToken`, one memory for the whole account: hosts of one role have keys of their own. */
export class DiskTokens {
  readonly #done: TokenMemory<string>;

  constructor(world: World) {
    this.#done = new TokenMemory(world.core.clock);
  }

  /** Makes something, unless this token made it already; answers its id. */
  async once(action: string, parameters: Parameters, make: () => string | Promise<string>): Promise<string> {
    const { ClientToken: token = '', ...rest } = parameters;
    if (token === '') return make();
    if (token.length > 64 || !/^[\x21-\x7e]+$/.test(token)) {
      throw new ApiError('InvalidClientToken', 'Specified parameter ClientToken is not valid.');
    }
    const found = this.#done.recall(action, token, rest);
    if (found === 'mismatch') {
      throw new ApiError(
        'IdempotentParameterMismatch',
        'The request uses the same client token as a previous, but non-identical request.',
      );
    }
    if (found !== undefined) return found.result;
    const made = await make();
    this.#done.remember(action, token, rest, made);
    return made;
  }
}

const levelOf = (parameters: Parameters, category: string): string => {
  const level = parameters.PerformanceLevel ?? '';
  if (category !== 'cloud_essd') {
    if (level === '') return '';
    throw new ApiError('InvalidPerformanceLevel.Malformed', 'The specified PerformanceLevel is not valid.');
  }
  if (level !== '' && LEVELS[level] === undefined) {
    throw new ApiError('InvalidPerformanceLevel.Malformed', 'The specified PerformanceLevel is not valid.');
  }
  return level === '' ? 'PL1' : level;
};

const iopsOf = (parameters: Parameters, category: string, size: number): number => {
  const iops = integer(parameters, 'ProvisionedIops', { min: 0, max: 10_000_000, usual: 0 });
  if (iops === 0) return 0;
  if (category !== 'cloud_auto') {
    throw new ApiError('InvalidParameter.ProvisionedIops', 'ProvisionedIops is only for the category cloud_auto.');
  }
  if (iops > mostIops(size)) {
    throw new ApiError('InvalidProvisionedIops.LimitExceed', 'The specified ProvisionedIops exceeds the limit.');
  }
  return iops;
};

const sizeOf = (disks: Disks, parameters: Parameters): number => {
  const size = integer(parameters, 'Size', { min: 1, max: MOST_GIB, usual: 0 });
  const { SnapshotId: id = '' } = parameters;
  if (id === '') {
    if (size === 0) throw new ApiError('MissingParameter', 'The input parameter Size is mandatory.');
    return size;
  }
  const snapshot = disks.snapshots.get(id);
  if (snapshot === undefined) throw refused('InvalidSnapshotId.NotFound', 'The specified snapshot is not found.', 404);
  if (snapshot.status !== 'accomplished') {
    throw refused('InvalidSnapshotId.NotReady', 'The specified snapshot creation is not completed yet.', 400);
  }
  if (size !== 0 && size < snapshot.size) {
    throw new ApiError('InvalidDiskSize.TooSmall', 'Specified disk size is less than the size of snapshot.');
  }
  return size === 0 ? snapshot.size : size;
};

const createDisk = (world: World, disks: Disks, parameters: Parameters): string => {
  const {
    ZoneId: zone = '',
    DiskCategory: category = 'cloud',
    KMSKeyId: key = '',
    SnapshotId: snapshot = '',
  } = parameters;
  if (!new RegExp(`^${world.region}-[a-z]$`).test(zone)) {
    throw refused('InvalidZoneId.NotFound', 'The specified zone does not exist.', 404);
  }
  if (!isCategory(category)) {
    throw new ApiError('InvalidDataDiskCategory.NotSupported', 'The specified disk category is not supported.');
  }
  if (disks.categories.get(zone)?.includes(category) === false) {
    throw new ApiError(
      'InvalidDataDiskCategory.NotSupported',
      "The specified parameter 'DataDisk.n.Category' is not supported in this zone.",
    );
  }
  const size = sizeOf(disks, parameters);
  const level = levelOf(parameters, category);
  checkSize(category, level, size);
  const iops = iopsOf(parameters, category, size);
  const encrypted = flag(parameters, 'Encrypted') || disks.snapshots.get(snapshot)?.encrypted === true;
  if (key !== '' && !encrypted) {
    throw new ApiError('InvalidParameter.EncryptedIllegal', 'A KMSKeyId needs Encrypted.');
  }
  if (key !== '' && !disks.keys.has(key)) {
    throw refused('InvalidParameter.KMSKeyId.CMKNotFound', 'The specified KMSKeyId does not exist.', 404);
  }
  if (!disks.quotas.fits('ecs_disks', disks.all().length)) {
    throw refused('QuotaExceed.PostPaidDisk', 'Living postPaid disks quota exceeded.');
  }
  const made = disks.create({
    ...{ zone, category, level, size, iops, encrypted, key, snapshot },
    ...{ name: nameOf(parameters, 'DiskName'), description: parameters.Description ?? '' },
    ...{ tags: tagsOf(parameters), deleteWithInstance: false, portable: true },
  });
  return made.id;
};

const machine = (world: World, id = ''): Instance => {
  const instance = world.instances.get(id);
  if (instance === undefined) {
    throw refused('InvalidInstanceId.NotFound', 'The specified instance does not exist.', 404);
  }
  return instance;
};

const atRest = ({ status }: Instance): void => {
  if (status === 'Running' || status === 'Stopped') return;
  throw refused('IncorrectInstanceStatus', 'The current status of the resource does not support this operation.');
};

const attachDisk = (world: World, disks: Disks, parameters: Parameters): Record<string, never> => {
  const instance = machine(world, parameters.InstanceId);
  const disk = usableDisk(disks, parameters.DiskId);
  if (disk.status === 'Creating') throw wrongStatus('.Initializing');
  if (disk.status !== 'Available') throw wrongStatus();
  if (!disk.portable) throw refused('DiskNotPortable', 'The specified disk is not a portable disk.');
  if (world.vswitches.get(instance.vswitch)?.zone !== disk.zone) {
    throw refused('ResourcesNotInSameZone', 'The specified instance and disk are not in the same zone.');
  }
  atRest(instance);
  if (!disks.quotas.fits('ecs_disks_per_instance', disks.of(instance.id).length)) {
    throw refused('InstanceDiskLimitExceeded', 'The amount of the disk on instance in question reach its limits.');
  }
  const { DeleteWithInstance: goes } = parameters;
  disks.attach(disk.id, instance, goes === undefined ? {} : { deleteWithInstance: goes.toLowerCase() === 'true' });
  return {};
};

const detachDisk = (world: World, disks: Disks, parameters: Parameters): Record<string, never> => {
  const instance = machine(world, parameters.InstanceId);
  const disk = disks.disks.get(parameters.DiskId ?? '');
  if (disk === undefined) throw refused('InvalidDiskId.NotFound', 'The specified disk does not exist.', 404);
  if (disk.status !== 'In_use' || disk.instance !== instance.id) throw wrongStatus();
  if (!disk.portable) throw refused('DiskNotPortable', 'The specified disk is not a portable disk.');
  atRest(instance);
  disks.detach(disk.id);
  return {};
};

const deleteDisk = (disks: Disks, { DiskId: id = '' }: Parameters): Record<string, never> => {
  // The request is ignored, as documented.
  if (disks.disks.get(id) === undefined) return {};
  const { status } = usableDisk(disks, id);
  if (status === 'Creating') throw wrongStatus('.Initializing');
  if (status !== 'Available') throw wrongStatus();
  if (isBeingCopied(disks, id)) throw creatingSnapshot();
  disks.remove(id);
  return {};
};

const resizeDisk = (world: World, disks: Disks, parameters: Parameters): string => {
  const disk = usableDisk(disks, parameters.DiskId);
  const size = integer(parameters, 'NewSize', { min: 1, max: MOST_GIB, usual: 0 });
  const online = (parameters.Type ?? 'offline') === 'online';
  const running = world.instances.get(disk.instance)?.status === 'Running';
  if (disk.status !== 'Available' && disk.status !== 'In_use') throw wrongStatus();
  if (online && !(disk.status === 'In_use' && running)) throw wrongStatus();
  if (online && disk.category === 'cloud') {
    throw refused('InvalidDiskCategory.NotSupported', 'The specified disk category does not support online resizing.');
  }
  if (size <= disk.size)
    throw new ApiError('InvalidDiskSize.TooSmall', 'Specified new disk size is less than the original.');
  checkSize(disk.category, disk.level, size);
  if (isBeingCopied(disks, disk.id)) throw creatingSnapshot();
  disks.resize(disk.id, size, online || !running);
  return disk.id;
};

/** With its client token. */
const tokened = (
  tokens: DiskTokens,
  name: string,
  action: Omit<Action, 'perform'>,
  make: (parameters: Parameters) => string,
): Action => ({
  required: action.required,
  optional: [...action.optional, 'ClientToken'],
  perform: async (parameters) => {
    const id = await tokens.once(name, parameters, () => make(parameters));
    return name === 'CreateDisk' ? { DiskId: id } : {};
  },
});

export function diskActions(world: World, disks: Disks, tokens: DiskTokens): Actions {
  return {
    CreateDisk: tokened(
      tokens,
      'CreateDisk',
      {
        required: ['RegionId', 'ZoneId'],
        optional: [
          ...['Size', 'SnapshotId', 'DiskName', 'Description', 'DiskCategory', 'PerformanceLevel', 'ProvisionedIops'],
          ...['Encrypted', 'KMSKeyId', 'Tag.N.Key', 'Tag.N.Value'],
        ],
      },
      (parameters) => createDisk(world, disks, parameters),
    ),
    AttachDisk: {
      required: ['InstanceId', 'DiskId'],
      optional: ['DeleteWithInstance'],
      perform: (parameters) => attachDisk(world, disks, parameters),
    },
    DetachDisk: {
      required: ['InstanceId', 'DiskId'],
      optional: ['DeleteWithInstance'],
      perform: (parameters) => detachDisk(world, disks, parameters),
    },
    DeleteDisk: {
      required: ['DiskId'],
      optional: [],
      perform: (parameters) => deleteDisk(disks, parameters),
    },
    ResizeDisk: tokened(tokens, 'ResizeDisk', { required: ['DiskId', 'NewSize'], optional: ['Type'] }, (parameters) =>
      resizeDisk(world, disks, parameters),
    ),
  };
}
