import type { FileSystemInfo } from '../../shared/cloud/aliyun/nas-answers.ts';
import { PluginError } from '../../shared/errors.ts';
import { nearest } from '../../shared/nearest.ts';
import type { ShareRequest } from './share-provider.ts';

/** Kinds of file systems, as the vendor's documents call them. */

interface Kind {
  readonly type: 'standard' | 'extreme';
  readonly storage: string;
  /** GiB that are paid for whether they are used or not: the least there is. */
  readonly capacity?: number;
}

const KINDS: Readonly<Record<string, Kind>> = {
  performance: { type: 'standard', storage: 'Performance' },
  capacity: { type: 'standard', storage: 'Capacity' },
  premium: { type: 'standard', storage: 'Premium' },
  'extreme-standard': { type: 'extreme', storage: 'standard', capacity: 100 },
  'extreme-advance': { type: 'extreme', storage: 'advance', capacity: 100 },
};

/** Paid for by what is used, and there in more zones than others. */
const USUAL = 'performance';

const invalid = (option: string, value: string, reason: string, allowed: string): PluginError =>
  new PluginError('OPTION_INVALID', { where: 'The volume option', option, value, reason, allowed });

const kindOf = (name: string): Kind => {
  const found = Object.hasOwn(KINDS, name) ? KINDS[name] : undefined;
  if (found !== undefined) return found;
  const meant = nearest(name, Object.keys(KINDS));
  const hint = meant === undefined ? '' : `; did you mean ${meant}?`;
  throw invalid('kind', name, `NAS has no such kind${hint}`, Object.keys(KINDS).join(', '));
};

/** What a file system is to be like. Errors: OPTION_INVALID for a kind that there is not. */
export const kindWanted = ({ kind = USUAL, encrypted, key }: ShareRequest) => ({
  ...kindOf(kind),
  encrypted: encrypted === true || key !== undefined,
  ...(key !== undefined && { key }),
});

/** Errors: OPTION_INVALID when the cluster's file system is not what is asked for: it has one, once and for all. */
export const checkSuits = ({ kind, encrypted, key }: ShareRequest, made: FileSystemInfo): void => {
  const is = (reason: string): string => `file system ${made.id} of this cluster ${reason}`;
  const allowed = 'what it is, or a share of your own with -o share=';
  if (kind !== undefined) {
    const { type, storage } = kindOf(kind);
    if (made.type !== type || made.storage !== storage) {
      throw invalid('kind', kind, is(`is of type ${made.type} and ${made.storage}`), allowed);
    }
  }
  if (encrypted === true && !made.encrypted) throw invalid('encrypted', 'true', is('is not encrypted'), allowed);
  if (key !== undefined && made.key !== key) throw invalid('kms-key', key, is('has another key'), allowed);
};
