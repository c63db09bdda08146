/** EFS as far as Drayage knows it: our own words for what it has, and exactly the calls that we make. */

export type LifeCycle = 'creating' | 'available' | 'updating' | 'deleting' | 'deleted' | 'error';

export interface FileSystem {
  readonly id: string;
  readonly state: LifeCycle;
  /** The name of the only zone that it is kept in; absent: in all of the region. */
  readonly zone?: string;
  readonly encrypted: boolean;
  readonly key?: string;
  /** `elastic`, `bursting` or `provisioned`. */
  readonly throughput: string;
  readonly tags: Readonly<Record<string, string>>;
}

/** An address by which a zone's hosts reach a file system. There is at most one in each zone, all of one VPC. */
export interface MountTarget {
  readonly id: string;
  readonly state: LifeCycle;
  /** Absent as long as it has none. */
  readonly address?: string;
  readonly vpc: string;
  /** The zone's name in the account whose target it is, and its id, which is the same in every account. */
  readonly zone: string;
  readonly zoneId: string;
}

export interface FileSystemRequest {
  /** At most 64 letters: a file system that was made with it is answered instead of another one. */
  readonly token: string;
  readonly throughput: string;
  readonly encrypted: boolean;
  readonly key?: string;
  readonly tags: Readonly<Record<string, string>>;
}

/** Every call: what is asked, and what is answered. `share-policy.ts` has the permission for each. */
export interface ShareCalls {
  /** Undefined: there is none, by this id or made with this token. */
  readonly DescribeFileSystems: {
    readonly input: { readonly id: string } | { readonly token: string };
    readonly output: FileSystem | undefined;
  };
  /** The id of the one that was made, or had been. */
  readonly CreateFileSystem: {
    readonly input: FileSystemRequest;
    readonly output: { readonly id: string; readonly isNew: boolean };
  };
  readonly DescribeMountTargets: {
    readonly input: { readonly fileSystem: string };
    readonly output: readonly MountTarget[];
  };
  readonly CreateMountTarget: {
    readonly input: {
      readonly fileSystem: string;
      readonly subnet: string;
      /** The VPC's default one when empty. */
      readonly securityGroups: readonly string[];
    };
    readonly output: MountTarget;
  };
}
