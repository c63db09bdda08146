/** How S3 tells checksums. */
import { type ChecksumName, checksumElement } from '../objects/checksums.ts';
import { element } from '../objects/xml.ts';

/** By the ends of their headers' names. */
type Sums = Readonly<Record<string, string>>;

export const sumHeaders = (checksums: Sums): Record<string, string> =>
  Object.fromEntries(
    Object.entries(checksums).flatMap(([name, value]) => [
      [`x-amz-checksum-${name}`, value],
      ['x-amz-checksum-type', value.includes('-') ? 'COMPOSITE' : 'FULL_OBJECT'],
    ]),
  );

export const sumElements = (checksums: Sums): string =>
  Object.entries(checksums)
    .map(([name, value]) => element(checksumElement(name as ChecksumName), value))
    .join('');
