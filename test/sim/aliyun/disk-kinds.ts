/** Which sizes disks may have, by category. Source: the vendor's manual of CreateDisk. */
import { ApiError } from '../core/api.ts';

export const GIB = 2 ** 30;

type Range = readonly [least: number, most: number];

/** GiB; of cloud_essd by performance level. */
const SIZES: Readonly<Record<string, Range>> = {
  cloud: [5, 2_000],
  cloud_efficiency: [20, 32_768],
  cloud_ssd: [20, 32_768],
  cloud_auto: [1, 65_536],
  cloud_essd_entry: [10, 32_768],
};

export const LEVELS: Readonly<Record<string, Range>> = {
  PL0: [1, 65_536],
  PL1: [20, 65_536],
  PL2: [461, 65_536],
  PL3: [1_261, 65_536],
};

const within = (size: number, [least, most]: Range): boolean => size >= least && size <= most;

/** Refuses a size that the category has not, in the words that it uses for that. Size in GiB. */
export const checkSize = (category: string, level: string, size: number): void => {
  const range = category === 'cloud_essd' ? LEVELS[level] : SIZES[category];
  if (range === undefined || within(size, range)) return;
  if (category === 'cloud_essd' && within(size, [1, 65_536])) {
    throw new ApiError(
      'OperationDenied.PerformanceLevelNotMatch',
      'The specified PerformanceLevel and disk size do not match.',
    );
  }
  const code = category === 'cloud_auto' ? 'InvalidDataDiskSize.ValueNotSupported' : 'InvalidDiskSize.NotSupported';
  throw new ApiError(code, 'The specified disk size is not supported.');
};

export const isCategory = (category: string): boolean => category === 'cloud_essd' || SIZES[category] !== undefined;

/** Most IOPS beyond the baseline that a disk of this size can be given. */
export const mostIops = (size: number): number =>
  Math.max(0, Math.min(50_000, 1_000 * size - Math.min(1_800 + 50 * size, 50_000)));
