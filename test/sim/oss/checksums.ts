/** How OSS tells checksums: one of everything. */
import type { StoredObject } from '../objects/bucket.ts';
import { crc64, POLYNOMIAL_ECMA } from '../objects/checksums.ts';

export const sumsOf = (body: readonly Buffer[]): { readonly crc64: string } => ({
  crc64: String(crc64(body, POLYNOMIAL_ECMA)),
});

export const crcHeader = ({ checksums }: Pick<StoredObject, 'checksums'>): Record<string, string> => ({
  'x-oss-hash-crc64ecma': checksums['crc64'] ?? '0',
});
