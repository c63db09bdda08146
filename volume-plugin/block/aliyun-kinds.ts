import { PluginError } from '../../shared/errors.ts';
import type { DiskRequest } from './provider.ts';

/** Kinds of disks of Aliyun: which there are, and what each can be. Source: its manual of CreateDisk. */

const GIB = 2 ** 30;

interface Kind {
  readonly category: string;
  /** Performance level, of cloud_essd. */
  readonly level?: string;
  /** Least and greatest size in GiB. */
  readonly sizes: readonly [least: number, most: number];
  /** IOPS beyond its baseline can be bought. */
  readonly takesIops?: true;
}

const KINDS: Readonly<Record<string, Kind>> = {
  cloud_essd_pl0: { category: 'cloud_essd', level: 'PL0', sizes: [1, 65_536] },
  cloud_essd_pl1: { category: 'cloud_essd', level: 'PL1', sizes: [20, 65_536] },
  cloud_essd_pl2: { category: 'cloud_essd', level: 'PL2', sizes: [461, 65_536] },
  cloud_essd_pl3: { category: 'cloud_essd', level: 'PL3', sizes: [1_261, 65_536] },
  cloud_auto: { category: 'cloud_auto', sizes: [1, 65_536], takesIops: true },
  cloud_essd_entry: { category: 'cloud_essd_entry', sizes: [10, 32_768] },
  cloud_ssd: { category: 'cloud_ssd', sizes: [20, 32_768] },
  cloud_efficiency: { category: 'cloud_efficiency', sizes: [20, 32_768] },
};

/** What is made unless a kind is asked for: of ESSDs the level that has this size, PL1 from its 20 GiB on. */
const DEFAULT = 'cloud_essd';

/** A disk that is asked for, in Aliyun's words. */
export interface AliyunShape {
  readonly category: string;
  readonly level?: string;
  /** Bytes: whole GiB. */
  readonly size: number;
  readonly iops?: number;
}

const refused = (option: string, value: string | number, reason: string, allowed: string): PluginError =>
  new PluginError('OPTION_INVALID', { where: 'The volume option', option, value, reason, allowed });

/** Most IOPS beyond the baseline that cloud_auto takes. */
const mostIops = (size: number): number => Math.max(0, Math.min(50_000, 1_000 * size - baseline(size)));

/** Errors: OPTION_INVALID for what there is not, or not in this size. */
export const shapeOf = ({ kind = DEFAULT, size, iops, throughput, encrypted, key }: DiskRequest): AliyunShape => {
  const whole = Math.ceil(size / GIB);
  const name = kind === DEFAULT ? `cloud_essd_pl${whole < 20 ? 0 : 1}` : kind;
  const found = KINDS[name];
  if (found === undefined) {
    throw refused('kind', kind, 'Aliyun has no such disks', [DEFAULT, ...Object.keys(KINDS)].join(', '));
  }
  const [least, most] = found.sizes;
  if (whole < least || whole > most) {
    throw refused('size', `${whole}g`, `there are no disks of kind ${kind} of that size`, `${least}g to ${most}g`);
  }
  if (throughput !== undefined) {
    throw refused(
      'throughput',
      throughput,
      "the throughput of Aliyun's disks follows from their kind and size",
      'nothing',
    );
  }
  if (iops !== undefined && found.takesIops === undefined) {
    throw refused(
      'iops',
      iops,
      `it cannot be chosen for disks of kind ${kind}`,
      'nothing, or any with kind=cloud_auto',
    );
  }
  if (iops !== undefined && iops > mostIops(whole)) {
    const reason = `a disk of ${whole} GiB takes less`;
    throw refused('iops', iops, reason, `0 to ${mostIops(whole)} beyond the baseline of ${baseline(whole)}`);
  }
  if (key !== undefined && encrypted === false) {
    throw refused('kms-key', key, 'a disk that is not encrypted has no key', 'nothing with encrypted=false');
  }
  const { category, level } = found;
  return {
    ...{ category, size: whole * GIB },
    ...(level !== undefined && { level }),
    ...(iops !== undefined && { iops }),
  };
};

const baseline = (size: number): number => Math.min(1_800 + 50 * size, 50_000);
