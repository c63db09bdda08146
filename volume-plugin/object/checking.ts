import { StoreError } from './store.ts';

/** What every store refuses before it asks anybody. */

const LONGEST_KEY = 1024;

/** Throws INVALID. Keys are 1 to 1024 bytes of UTF-8. */
export const mustBeKey = (key: string): void => {
  const length = Buffer.byteLength(key);
  if (length > 0 && length <= LONGEST_KEY && key.isWellFormed()) return;
  const why = key.isWellFormed() ? `it has ${length} bytes, of 1 to ${LONGEST_KEY}` : 'it is not UTF-8';
  throw new StoreError('INVALID', `${JSON.stringify(key.slice(0, 60))} cannot be a key: ${why}`, { key });
};

/** Throws INVALID for metadata that cannot be headers, or are more than `most` bytes. */
export const mustBeMeta = (meta: Readonly<Record<string, string>>, most: number, key: string): void => {
  let size = 0;
  for (const [name, value] of Object.entries(meta)) {
    size += name.length + value.length;
    if (/^[a-z0-9._-]+$/.test(name) && /^([!-~]([ -~]*[!-~])?)?$/.test(value)) continue;
    throw new StoreError('INVALID', `the metadata ${JSON.stringify(name)} of ${key} cannot be a header`, { key });
  }
  if (size <= most) return;
  throw new StoreError('INVALID', `the metadata of ${key} have ${size} bytes, and ${most} are the most`, { key });
};
