import { recordOf, records, text } from './answers.ts';
import type { Body } from './caller.ts';

/** Of what ECS says of disks and snapshots exactly what Drayage looks at. */

export const GIB = 2 ** 30;

export type Tags = Readonly<Record<string, string>>;

export interface DiskInfo {
  readonly id: string;
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** Creating, Available, Attaching, In_use, Detaching, ReIniting. */
  readonly status: string;
  readonly zone: string;
  /** What the kernel shows: not derived from the id. */
  readonly serial: string;
  /** Who has it; while it is on its way this may not be told yet. */
  readonly instance?: string;
  readonly snapshot?: string;
  readonly category: string;
  /** Why nothing may be done with it: `financial`, `security`, … */
  readonly locks: readonly string[];
  readonly tags: Tags;
  /** ISO time. */
  readonly created: string;
}

export interface SnapshotInfo {
  readonly id: string;
  readonly disk: string;
  /** Bytes of the disk. */
  readonly size: number;
  readonly state: 'pending' | 'ready' | 'failed';
  /** Percent. */
  readonly progress: number;
  readonly tags: Tags;
  /** ISO time. */
  readonly created: string;
}

const tagsOf = (from: Body): Tags =>
  Object.fromEntries(
    // Some answers name them as others do not.
    records(from, 'Tags', 'Tag').map((one) => [
      text(one, 'TagKey') || text(one, 'Key'),
      text(one, 'TagValue') || text(one, 'Value'),
    ]),
  );

export const diskOf = (from: Body): DiskInfo => {
  const [attachment = {}] = records(from, 'Attachments', 'Attachment');
  const instance = text(from, 'InstanceId') || text(attachment, 'InstanceId');
  const snapshot = text(from, 'SourceSnapshotId');
  return {
    id: text(from, 'DiskId'),
    name: text(from, 'DiskName'),
    size: Number(from.Size ?? 0) * GIB,
    status: text(from, 'Status'),
    zone: text(from, 'ZoneId'),
    serial: text(from, 'SerialNumber'),
    ...(instance !== '' && { instance }),
    ...(snapshot !== '' && { snapshot }),
    category: text(from, 'Category'),
    locks: records(from, 'OperationLocks', 'OperationLock').map((one) => text(one, 'LockReason')),
    tags: tagsOf(from),
    created: text(from, 'CreationTime'),
  };
};

const stateOf = (from: Body): SnapshotInfo['state'] => {
  const status = text(from, 'Status');
  // With instant access disks can be made of it before all of it is written.
  if (status === 'accomplished' || from.Available === true) return 'ready';
  return status === 'failed' ? 'failed' : 'pending';
};

export const snapshotOf = (from: Body): SnapshotInfo => {
  const state = stateOf(from);
  const progress = Number.parseInt(text(from, 'Progress'), 10);
  return {
    id: text(from, 'SnapshotId'),
    disk: text(from, 'SourceDiskId'),
    size: Number(from.SourceDiskSize ?? 0) * GIB,
    state,
    progress: state === 'ready' ? 100 : Number.isFinite(progress) ? progress : 0,
    tags: tagsOf(from),
    created: text(from, 'CreationTime'),
  };
};

/** `{ DiskId: 'd-1' }` → the text. Throws when it is not there: then this was no answer of theirs. */
export const idIn = (body: Body, name: string): string => {
  const id = text(recordOf(body), name);
  if (id === '') throw new Error(`Aliyun's answer has no ${name}`);
  return id;
};
