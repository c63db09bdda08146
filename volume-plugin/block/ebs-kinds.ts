import { PluginError } from '../../shared/errors.ts';
import type { DiskRequest } from './provider.ts';

/** What EBS has to offer. From the user guide's tables of volume types; what they do not rule out, EC2 still may. */

interface Range {
  readonly least: number;
  readonly most: number;
}

interface Kind {
  /** GiB. */
  readonly size: Range;
  readonly iops?: Range;
  /** MiB/s. */
  readonly throughput?: Range;
}

const KINDS = {
  gp3: {
    size: { least: 1, most: 65_536 },
    iops: { least: 3_000, most: 80_000 },
    throughput: { least: 125, most: 2_000 },
  },
  gp2: { size: { least: 1, most: 16_384 } },
  io2: { size: { least: 4, most: 65_536 }, iops: { least: 100, most: 256_000 } },
  io1: { size: { least: 4, most: 16_384 }, iops: { least: 100, most: 64_000 } },
  st1: { size: { least: 125, most: 16_384 } },
  sc1: { size: { least: 125, most: 16_384 } },
  standard: { size: { least: 1, most: 1_024 } },
} as const satisfies Readonly<Record<string, Kind>>;

export const USUAL_KIND = 'gp3';

const GIB = 2 ** 30;

/** EBS counts in GiB: parts of one are made whole. */
export const wholeGib = (bytes: number): number => Math.ceil(bytes / GIB);

export const bytesOf = (gib: number): number => gib * GIB;

const refuse = (option: string, value: string | number, reason: string, allowed: string): never => {
  throw new PluginError('OPTION_INVALID', {
    where: 'The volume option',
    option,
    value: String(value),
    reason,
    allowed,
  });
};

const kindNamed = (name: string): Kind =>
  Object.hasOwn(KINDS, name)
    ? KINDS[name as keyof typeof KINDS]
    : refuse('kind', name, 'EBS has no such type', Object.keys(KINDS).join(', '));

const checkRange = (option: string, kind: string, value: number | undefined, range: Range | undefined): void => {
  if (value === undefined) return;
  if (range === undefined) refuse(option, value, `${kind} has no such thing`, 'nothing, or another kind');
  const { least, most } = range ?? { least: value, most: value };
  if (value < least || value > most) refuse(option, value, `${kind} does not go that far`, `${least} to ${most}`);
};

/** Errors: OPTION_INVALID for what EBS has not. */
export const checkKind = ({ kind = USUAL_KIND, size, iops, throughput, encrypted, key }: DiskRequest): void => {
  const { size: sizes, ...known }: Kind = kindNamed(kind);
  const gib = wholeGib(size);
  if (gib > sizes.most) refuse('size', `${gib}g`, `${kind} volumes are not that large`, `up to ${sizes.most}g`);
  // Less is made more, as everywhere: only where it is far off people should know.
  if (gib < sizes.least) refuse('size', `${gib}g`, `${kind} volumes are not that small`, `at least ${sizes.least}g`);
  checkRange('iops', kind, iops, known.iops);
  checkRange('throughput', kind, throughput, known.throughput);
  if (iops === undefined && (kind === 'io1' || kind === 'io2')) {
    refuse('iops', '', `${kind} volumes have what is asked for`, `${known.iops?.least} to ${known.iops?.most}`);
  }
  if (key !== undefined && encrypted === false) {
    refuse('kms-key', key, 'the disk shall not be encrypted', 'nothing, or encrypted=true');
  }
};
