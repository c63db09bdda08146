/** What EBS lets volumes be: sizes, IOPS and throughput by type. From the user guide's pages about volume types. */
import { ApiError } from '../core/api.ts';
import { invalid, missing } from './errors.ts';
import type { VolumeShape } from './storage.ts';

interface Range {
  readonly least: number;
  readonly most: number;
}

interface Rule {
  /** GiB. */
  readonly size: Range;
  readonly iops?: Range & { readonly perGib: number; readonly usual?: number };
  /** MiB/s. */
  readonly throughput?: Range;
}

const RULES: Readonly<Record<string, Rule>> = {
  standard: { size: { least: 1, most: 1024 } },
  gp2: { size: { least: 1, most: 16_384 } },
  gp3: {
    size: { least: 1, most: 65_536 },
    iops: { least: 3000, most: 80_000, perGib: 500, usual: 3000 },
    throughput: { least: 125, most: 2000 },
  },
  io1: { size: { least: 4, most: 16_384 }, iops: { least: 100, most: 64_000, perGib: 50 } },
  io2: { size: { least: 4, most: 65_536 }, iops: { least: 100, most: 256_000, perGib: 1000 } },
  st1: { size: { least: 125, most: 16_384 } },
  sc1: { size: { least: 125, most: 16_384 } },
};

const within = (what: string, value: number, { least, most }: Range): void => {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw invalid(`Invalid value '${value}' for ${what}. ${what} must be between ${least} and ${most}.`);
};

const numberOf = (value: string | undefined): number | undefined => (value === undefined ? undefined : Number(value));

/** The shape that a request asks for, on top of what is there. Throws ApiError for what EBS has not. */
export const shapeOf = (
  parameters: Readonly<Record<string, string>>,
  before: { readonly size?: number; readonly type?: string; readonly iops?: number; readonly throughput?: number } = {},
): VolumeShape => {
  const type = parameters.VolumeType ?? before.type ?? 'gp2';
  const rule = RULES[type];
  if (rule === undefined) throw new ApiError('UnknownVolumeType', `Unknown volume type '${type}'.`);
  const size = numberOf(parameters.Size) ?? before.size;
  if (size === undefined) throw missing('size/snapshot');
  within('volumeSize', size, rule.size);
  const same = before.type === undefined || before.type === type;
  const iops = numberOf(parameters.Iops) ?? (same ? before.iops : undefined) ?? rule.iops?.usual;
  if (parameters.Iops !== undefined && rule.iops === undefined) {
    throw new ApiError('InvalidParameterCombination', `The parameter iops is not supported for ${type} volumes.`);
  }
  if (rule.iops !== undefined) {
    if (iops === undefined) throw missing('iops');
    within('iops', iops, rule.iops);
    const most = Math.max(rule.iops.usual ?? 0, size * rule.iops.perGib);
    if (iops > most)
      throw invalid(`Iops to volume size ratio of ${iops / size} is too high; maximum is ${rule.iops.perGib}`);
  }
  const throughput =
    numberOf(parameters.Throughput) ?? (same ? before.throughput : undefined) ?? rule.throughput?.least;
  if (parameters.Throughput !== undefined && rule.throughput === undefined) {
    throw new ApiError('InvalidParameterCombination', `The parameter throughput is not supported for ${type} volumes.`);
  }
  if (rule.throughput !== undefined && throughput !== undefined) {
    within('throughput', throughput, rule.throughput);
    if (throughput > (iops ?? 0) / 4) {
      throw invalid(`Throughput (MiBps) to iops ratio of ${throughput / (iops ?? 1)} is too high; maximum is 0.250000`);
    }
  }
  return {
    size,
    type,
    iops: rule.iops === undefined && type !== 'gp2' ? undefined : (iops ?? gp2Iops(size)),
    throughput,
  };
};

const gp2Iops = (size: number): number => Math.min(16_000, Math.max(100, size * 3));
