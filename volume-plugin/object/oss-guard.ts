import { combineCrc, crcOf } from './checksums.ts';
import type { AnswerHeaders } from './dialect.ts';
import type { Part } from './store.ts';

/** The checksum of OSS: CRC-64 of ECMA-182, as a decimal number. OSS tells that of every object, part and completed upload. */

const HEADER = 'x-oss-hash-crc64ecma';

export const crc64Of = (body: readonly Buffer[]): string => String(crcOf('crc64ecma', body));

/** What an answer tells; undefined: nothing, as of objects from before 2016. */
export const toldCrc = (headers: AnswerHeaders): string | undefined => {
  const told = headers.get(HEADER);
  return told !== undefined && /^\d{1,20}$/.test(told) ? told : undefined;
};

/** Is what the store has what was meant? An answer that does not say is taken at its word. */
export const isIntact = (headers: AnswerHeaders, crc: string | undefined): boolean => {
  const told = toldCrc(headers);
  return told === undefined || crc === undefined || told === crc;
};

/** The checksum of the whole of these parts; undefined when that of one is not known. */
export const crcOfParts = (parts: readonly Part[]): string | undefined => {
  let whole = 0n;
  for (const { checksum, size } of parts) {
    if (checksum === undefined) return undefined;
    whole = combineCrc('crc64ecma', whole, BigInt(checksum), size);
  }
  return String(whole);
};
