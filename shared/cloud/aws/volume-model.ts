import type { InstanceState } from './model.ts';

/** EBS as far as Drayage knows it: our own words for what it has, and exactly the calls that we make. */

export interface VolumeAttachment {
  readonly instance: string;
  /** The name that was asked for, such as `/dev/sdf`; the kernel has its own. */
  readonly device: string;
  /** `busy`: it shall be detached, and its machine still has it mounted. */
  readonly state: 'attaching' | 'attached' | 'detaching' | 'busy';
}

export interface Volume {
  readonly id: string;
  /** GiB. */
  readonly size: number;
  readonly zone: string;
  readonly state: 'creating' | 'available' | 'in-use' | 'deleting' | 'deleted' | 'error';
  readonly attachment?: VolumeAttachment;
  /** What it was made from. */
  readonly snapshot?: string;
  /** `gp3`, `io2`, … */
  readonly kind: string;
  /** ISO time. */
  readonly created: string;
  readonly tags: Readonly<Record<string, string>>;
}

export interface VolumeSnapshot {
  readonly id: string;
  readonly volume: string;
  /** GiB. */
  readonly size: number;
  readonly state: 'pending' | 'completed' | 'error';
  /** Percent. */
  readonly progress: number;
  /** ISO time. */
  readonly created: string;
  readonly tags: Readonly<Record<string, string>>;
}

export interface Modification {
  readonly state: 'modifying' | 'optimizing' | 'completed' | 'failed';
  /** GiB. */
  readonly size: number;
  /** Why it has failed. */
  readonly reason?: string;
}

export interface Machine {
  readonly id: string;
  readonly state: InstanceState;
  /** Its Name tag. */
  readonly name?: string;
  readonly privateDnsName?: string;
  /** Such as `m6i.large`. */
  readonly type: string;
  /** Names of devices that it uses, or is about to use. */
  readonly devices: readonly string[];
}

/** What is looked for: by ids, of which those that do not exist are left out, or by tags (all of them). */
export type VolumeSearch =
  | { readonly ids: readonly string[] }
  | { readonly tags: Readonly<Record<string, string>>; readonly having?: string };

export interface VolumeRequest {
  readonly zone: string;
  /** GiB. */
  readonly size: number;
  readonly kind: string;
  readonly iops?: number;
  /** MiB/s. */
  readonly throughput?: number;
  readonly encrypted?: boolean;
  readonly key?: string;
  readonly snapshot?: string;
  readonly tags: Readonly<Record<string, string>>;
  /** At most 64 letters: a repeated request with it makes nothing new. */
  readonly token: string;
}

interface At {
  readonly volume: string;
  readonly instance: string;
}

/** Every call: what is asked, and what is answered. `volume-policy.ts` has the permission for each. */
export interface VolumeCalls {
  readonly DescribeVolumes: { readonly input: VolumeSearch; readonly output: readonly Volume[] };
  readonly DescribeSnapshots: { readonly input: VolumeSearch; readonly output: readonly VolumeSnapshot[] };
  /** Those of the ids that exist; with `exact` one that does not is an error, `instance-missing`. */
  readonly DescribeInstances: {
    readonly input: { readonly ids: readonly string[]; readonly exact?: boolean };
    readonly output: readonly Machine[];
  };
  /** How many disks a type of instance takes in all; undefined where EC2 does not say. */
  readonly DescribeInstanceTypes: {
    readonly input: { readonly type: string };
    readonly output: { readonly attachments?: number; readonly isShared: boolean };
  };
  /** The last change of a volume; undefined when there was none. */
  readonly DescribeVolumesModifications: {
    readonly input: { readonly volume: string };
    readonly output: Modification | undefined;
  };
  readonly CreateVolume: { readonly input: VolumeRequest; readonly output: Volume };
  readonly DeleteVolume: { readonly input: { readonly volume: string }; readonly output: undefined };
  readonly AttachVolume: { readonly input: At & { readonly device: string }; readonly output: undefined };
  readonly DetachVolume: { readonly input: At; readonly output: undefined };
  /** GiB. */
  readonly ModifyVolume: {
    readonly input: { readonly volume: string; readonly size: number };
    readonly output: undefined;
  };
  readonly CreateSnapshot: {
    readonly input: {
      readonly volume: string;
      readonly description: string;
      readonly tags: Readonly<Record<string, string>>;
    };
    readonly output: VolumeSnapshot;
  };
  readonly DeleteSnapshot: { readonly input: { readonly snapshot: string }; readonly output: undefined };
  readonly CreateTags: {
    readonly input: { readonly id: string; readonly tags: Readonly<Record<string, string>> };
    readonly output: undefined;
  };
  readonly DeleteTags: {
    readonly input: { readonly id: string; readonly names: readonly string[] };
    readonly output: undefined;
  };
}
