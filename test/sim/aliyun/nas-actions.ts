/**
 * The actions of NAS 2017-06-26 that make file systems and mount targets. Codes and statuses: its reference
 * of each action, and its list of error codes.
 */
import { ApiError } from '../core/api.ts';
import { tagsOf } from './disk-tags.ts';
import type { Nas, SimFileSystem } from './nas.ts';
import { denied, shownDomain } from './nas-list.ts';
import { type Actions, integer, type Parameters } from './parameters.ts';

type Json = Readonly<Record<string, unknown>>;

const STORAGES: Readonly<Record<SimFileSystem['type'], readonly string[]>> = {
  standard: ['Performance', 'Capacity', 'Premium'],
  extreme: ['standard', 'advance'],
};

/** GiB. */
const SMALLEST_EXTREME = 100;
const LARGEST = 262_144;

const DESCRIPTION = /^[\p{L}][\p{L}0-9:_-]{1,127}$/u;

/** As it is. */
export const fileSystemOf = (nas: Nas, { FileSystemId: id = '' }: Parameters): SimFileSystem => {
  const found = nas.fileSystems.get(id);
  if (found === undefined) {
    throw denied('InvalidFileSystem.NotFound', 'The specified file system does not exist.', 404);
  }
  return found;
};

/** A description as the vendor takes it; `usual` when there is none. */
export const descriptionOf = ({ Description: text = '' }: Parameters, usual: string): string => {
  if (text === '') return usual;
  if (DESCRIPTION.test(text) && !/^https?:\/\//.test(text)) return text;
  throw denied('InvalidDescription.InvalidFormat', 'Description format is invalid.', 404);
};

const typeOf = ({ FileSystemType: type = 'standard' }: Parameters): SimFileSystem['type'] => {
  if (type === 'standard' || type === 'extreme') return type;
  throw new ApiError('InvalidParameter.FileSystemType', 'The specified FileSystemType is not valid.');
};

const encryptionOf = (nas: Nas, parameters: Parameters): Pick<SimFileSystem, 'encryption' | 'key'> => {
  const encryption = integer(parameters, 'EncryptType', { min: 0, max: 2, usual: 0 });
  const { KmsKeyId: key = '' } = parameters;
  if (encryption < 2) return { encryption, key: '' };
  if (key === '') {
    throw new ApiError(
      'MissingParameter.KmsKeyId',
      'When parameter EncryptType equals 2, the parameter KmsKeyId is mandatory for your request.',
    );
  }
  if (!nas.keys.has(key)) throw new ApiError('InvalidParameter.KmsKeyIdNotFound', 'The KMS key ID does not exist.');
  return { encryption, key };
};

const placeOf = (
  nas: Nas,
  type: SimFileSystem['type'],
  parameters: Parameters,
): Pick<SimFileSystem, 'zone' | 'capacity'> => {
  const { region } = nas.world;
  const extreme = type === 'extreme';
  const capacity = integer(parameters, 'Capacity', { min: 0, max: LARGEST, usual: 0 });
  if (extreme && capacity < SMALLEST_EXTREME) {
    throw new ApiError('InvalidParameter.Capacity', 'The specified Capacity is not valid.');
  }
  const { ZoneId: zone = extreme ? '' : `${region}-a` } = parameters;
  if (!new RegExp(`^${region}-[a-z]$`).test(zone)) {
    throw denied('InvalidAZone.NotFound', 'The specified AZone is not found.', 404);
  }
  if (nas.soldOut.has(zone)) {
    throw denied('Resource.OutOfStock', 'The inventory of the specified zone is insufficient.');
  }
  return { zone, capacity: extreme ? capacity : 10 * 1024 * 1024 };
};

const create = (nas: Nas, type: SimFileSystem['type'], parameters: Parameters): string => {
  const { StorageType: storage = '', ProtocolType: protocol = '' } = parameters;
  if (!STORAGES[type].includes(storage)) {
    throw new ApiError('InvalidParameter.StorageType', 'The specified StorageType is not valid.');
  }
  if (protocol !== 'NFS' && !(protocol === 'SMB' && type === 'standard')) {
    // So it is spelt.
    throw new ApiError('InvalidParameter.ProtocalType', 'The specified ProtocolType is not valid.');
  }
  const place = placeOf(nas, type, parameters);
  const encryption = encryptionOf(nas, parameters);
  const used = nas.fileSystems.entries().filter(([, one]) => one.type === type).length;
  if (!nas.quotas.fits(`nas_${type}`, used)) {
    throw denied('OperationDenied.FileSystemCountsExceeded', 'The amount of FileSystem has reached its limits.');
  }
  const tags = tagsOf(parameters);
  if (Object.values(tags).includes('')) {
    throw new ApiError('InvalidTagValue.Malformed', 'The specified Tag.n.Value is not valid.');
  }
  const description = descriptionOf(parameters, '');
  const traits = { type, storage, protocol, description, tags: nas.takesTags ? tags : {} } as const;
  return nas.make({ ...traits, ...place, ...encryption }).id;
};

/** Of General-purpose file systems each request makes one, whatever its token, as documented. */
const createOnce = (nas: Nas, parameters: Parameters): Json => {
  const type = typeOf(parameters);
  const { ClientToken: token = '', ...rest } = parameters;
  if (token.length > 64) throw new ApiError('InvalidClientToken', 'Specified parameter ClientToken is not valid.');
  if (type !== 'extreme' || token === '') return { FileSystemId: create(nas, type, rest) };
  const found = nas.tokens.recall('CreateFileSystem', token, rest);
  if (found === 'mismatch') {
    throw new ApiError('IdempotentParameterMismatch', 'The same client token was passed in to different parameters.');
  }
  const id = found?.result ?? create(nas, type, rest);
  nas.tokens.remember('CreateFileSystem', token, rest, id);
  return { FileSystemId: id };
};

const createTarget = (nas: Nas, parameters: Parameters): Json => {
  const { id, type, status } = fileSystemOf(nas, parameters);
  const {
    NetworkType: network = '',
    VpcId: vpc = '',
    VSwitchId: vswitch = '',
    AccessGroupName: group = '',
  } = parameters;
  if (network.toLowerCase() !== 'vpc') {
    throw new ApiError('InvalidParameter.NetworkType', 'The specified NetworkType is not valid.');
  }
  if (group === '') {
    const message = 'You must specify AccessGroupName when you create a standard or extreme file system mount target.';
    throw new ApiError('MissingParameter.AccessGroupName', message);
  }
  if (nas.groups.get(`${type} ${group}`) === undefined) {
    throw denied('InvalidAccessGroup.NotFound', 'The specified AccessGroup does not exist.', 404);
  }
  if (!nas.world.vpcs.has(vpc)) {
    throw denied('InvalidParameter.VpcNotFound', 'The specified VPC does not exist.', 404);
  }
  if (nas.world.vswitches.get(vswitch)?.vpc !== vpc) {
    throw denied('InvalidParameter.VswNotFound', 'The specified VSwitch does not exist.', 404);
  }
  if (status !== 'Running') {
    throw denied('OperationDenied.InvalidState', 'The operation is not permitted when the status is processing.');
  }
  if (!nas.quotas.fits('nas_targets', nas.targetsOf(id).length)) {
    throw denied(
      'OperationDenied.MountTargetExceedLimit',
      'The maximum number of mount target in the specified file system is exceeded.',
    );
  }
  return { MountTargetDomain: shownDomain(nas.makeTarget({ fileSystem: id, vpc, vswitch, group })) };
};

export function nasActions(nas: Nas): Actions {
  const tags = ['Tag.N.Key', 'Tag.N.Value'];
  return {
    CreateFileSystem: {
      required: ['ProtocolType', 'StorageType'],
      optional: [
        ...['FileSystemType', 'ChargeType', 'Capacity', 'ZoneId', 'EncryptType', 'KmsKeyId', 'Description'],
        ...['ClientToken', ...tags],
      ],
      perform: (parameters) => createOnce(nas, parameters),
    },
    CreateMountTarget: {
      required: ['FileSystemId', 'NetworkType'],
      optional: ['AccessGroupName', 'VpcId', 'VSwitchId'],
      perform: (parameters) => createTarget(nas, parameters),
    },
  };
}
