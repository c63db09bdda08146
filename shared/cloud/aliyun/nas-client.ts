import type { Context } from '../../context.ts';
import { records } from './answers.ts';
import type { AliyunCaller, Body, Parameters } from './caller.ts';
import { idIn } from './disk-answers.ts';
import { AliyunRefusal, isOpen, isTransient, kindOfError } from './errors.ts';
import {
  type AccessGroupInfo,
  accessGroupOf,
  type FileSystemInfo,
  fileSystemOf,
  type MountTargetInfo,
  mountTargetOf,
} from './nas-answers.ts';

/** Most rows of one answer. */
const PAGE = 100;
const GIB = 2 ** 30;

export interface NewFileSystem {
  readonly type: 'standard' | 'extreme';
  readonly storage: string;
  /** GiB; Extreme file systems are bought by the size. */
  readonly capacity?: number;
  /** Extreme file systems are in a zone. */
  readonly zone?: string;
  readonly encrypted: boolean;
  /** The user's key of KMS, in the place of NAS's own. */
  readonly key?: string;
  readonly description: string;
  readonly tags: Readonly<Record<string, string>>;
}

/** A mount target is reached from all of its VPC, whatever vSwitch it has its address in. */
export interface NewMountTarget {
  readonly fileSystem: string;
  readonly vpc: string;
  readonly vswitch: string;
  readonly accessGroup: string;
}

const tagParameters = (tags: Readonly<Record<string, string>>): Parameters =>
  Object.fromEntries(
    Object.entries(tags).flatMap(([key, value], n) => [
      [`Tag.${n + 1}.Key`, key],
      [`Tag.${n + 1}.Value`, value],
    ]),
  );

/** It may come: but who does not know whether something was made looks first. */
const isPassing = (error: unknown): boolean => isTransient(error) && !isOpen(error);

/**
 * File systems of NAS. Reads throw PluginErrors. What makes something is sent once more only when it is known that nothing
 * was made. All writes throw AliyunRefusal and AliyunSilence, which `caller.translate` words, and PluginErrors.
 */
export class AliyunNas {
  readonly caller: AliyunCaller;

  constructor(caller: AliyunCaller) {
    this.caller = caller;
  }

  /** Undefined when there is none. Errors: PROVIDER_*, DEADLINE. */
  async fileSystem(id: string, c: Context): Promise<FileSystemInfo | undefined> {
    const [found] = await this.#list('DescribeFileSystems', { FileSystemId: id }, ['FileSystems', 'FileSystem'], c);
    const info = found === undefined ? undefined : fileSystemOf(found);
    return info?.id === id ? info : undefined;
  }

  /** Those with all of these tags. Errors: PROVIDER_*, DEADLINE. */
  async fileSystems(tags: Readonly<Record<string, string>>, c: Context): Promise<readonly FileSystemInfo[]> {
    const found = await this.#list('DescribeFileSystems', tagParameters(tags), ['FileSystems', 'FileSystem'], c);
    return found.map(fileSystemOf);
  }

  /** None when there is no such file system. Errors: PROVIDER_*, DEADLINE. */
  async targets(fileSystem: string, c: Context): Promise<readonly MountTargetInfo[]> {
    const asked = { FileSystemId: fileSystem };
    return (await this.#list('DescribeMountTargets', asked, ['MountTargets', 'MountTarget'], c)).map(mountTargetOf);
  }

  /** Undefined when there is none. Errors: PROVIDER_*, DEADLINE. */
  async accessGroup(name: string, c: Context): Promise<AccessGroupInfo | undefined> {
    const asked = { AccessGroupName: name };
    const found = await this.#list('DescribeAccessGroups', asked, ['AccessGroups', 'AccessGroup'], c);
    return found.map(accessGroupOf).find((one) => one.name === name);
  }

  /**
   * Begins to make a file system that speaks NFS; answers its id. The token makes an Extreme one once; of General-purpose
   * ones each request makes another, as documented.
   */
  async createFileSystem(wanted: NewFileSystem, token: string, c: Context): Promise<string> {
    const { type, storage, capacity, zone, encrypted, key, description, tags } = wanted;
    const parameters: Parameters = {
      FileSystemType: type,
      ChargeType: 'PayAsYouGo',
      StorageType: storage,
      ProtocolType: 'NFS',
      Description: description,
      ...(capacity !== undefined && { Capacity: String(capacity) }),
      ...(zone !== undefined && { ZoneId: zone }),
      ...(encrypted && { EncryptType: key === undefined ? '1' : '2' }),
      ...(key !== undefined && { KmsKeyId: key }),
      ...tagParameters(tags),
      ClientToken: token,
    };
    return idIn(await this.#make('CreateFileSystem', parameters, c), 'FileSystemId');
  }

  /** Begins to make a mount target; each request makes another one, up to two. */
  async createTarget({ fileSystem, vpc, vswitch, accessGroup }: NewMountTarget, c: Context): Promise<void> {
    const place = { NetworkType: 'Vpc', VpcId: vpc, VSwitchId: vswitch };
    await this.#make('CreateMountTarget', { FileSystemId: fileSystem, AccessGroupName: accessGroup, ...place }, c);
  }

  /** Refused with kind `exists` when there is one of this name: of several that ask, one makes it. */
  async createAccessGroup(name: string, description: string, c: Context): Promise<void> {
    await this.#make(
      'CreateAccessGroup',
      { AccessGroupName: name, AccessGroupType: 'Vpc', Description: description },
      c,
    );
  }

  /** Succeeds when there is none. Not repeated when the outcome is open: by then there may be another of this name. */
  async deleteAccessGroup(name: string, c: Context): Promise<void> {
    try {
      await this.#make('DeleteAccessGroup', { AccessGroupName: name }, c);
    } catch (error) {
      if (kindOfError(error) !== 'no-share') throw error;
    }
  }

  /** Adds tags to a file system. */
  async tag(id: string, tags: Readonly<Record<string, string>>, c: Context): Promise<void> {
    const which = { ResourceType: 'filesystem', 'ResourceId.1': id };
    await this.#write('TagResources', { ...which, ...tagParameters(tags) }, c);
  }

  /**
   * Lets a folder grow to so many bytes, made whole GiB. It holds after 5 to 15 minutes, as documented. Refused with kind
   * `no-folder` when there is none.
   */
  async setQuota(id: string, folder: string, bytes: number, c: Context): Promise<void> {
    const quota = { QuotaType: 'Enforcement', SizeLimit: String(Math.ceil(bytes / GIB)) };
    await this.#write('SetDirQuota', { FileSystemId: id, Path: folder, UserType: 'AllUsers', ...quota }, c);
  }

  /** Succeeds when the folder has no quota. Refused with kind `no-folder` when there is no such folder. */
  async cancelQuota(id: string, folder: string, c: Context): Promise<void> {
    await this.#write('CancelDirQuota', { FileSystemId: id, Path: folder, UserType: 'AllUsers' }, c, 'no-limit');
  }

  /** What must not be done twice without a look in between. */
  #make(action: string, parameters: Parameters, c: Context): Promise<Body> {
    return this.caller.repeat('nas', action, parameters, c, isPassing);
  }

  /** What may be done twice. `fine`: a refusal of this kind is a success. */
  async #write(action: string, parameters: Parameters, c: Context, fine?: string): Promise<void> {
    try {
      const body = await this.caller.repeat('nas', action, parameters, c);
      if (body.Success !== false) return;
    } catch (error) {
      if (fine !== undefined && kindOfError(error) === fine) return;
      throw error;
    }
    const text = 'it was answered that it did not succeed';
    throw new AliyunRefusal({ action: `nas:${action}`, code: 'NoSuccess', text, status: 200 });
  }

  async #list(action: string, asked: Parameters, [outer, inner]: [string, string], c: Context): Promise<Body[]> {
    const found: Body[] = [];
    for (let page = 1; ; page += 1) {
      let body: Body;
      try {
        const parameters = { ...asked, PageNumber: String(page), PageSize: String(PAGE) };
        body = await this.caller.repeat('nas', action, parameters, c);
      } catch (error) {
        if (kindOfError(error) === 'no-share') return [];
        throw this.caller.translate(error);
      }
      const some = records(body, outer, inner);
      found.push(...some);
      if (some.length === 0 || found.length >= Number(body.TotalCount ?? 0)) return found;
    }
  }
}
