/** The coding `aws-chunked`: chunks that may be signed, and trailers with a checksum. */
import { CHECKSUMS, type ChecksumName } from '../objects/checksums.ts';
import { sizeOf } from '../objects/message.ts';
import type { ObjectCall } from '../objects/service.ts';
import { equal, hmac, sha256 } from './digests.ts';
import { refuse } from './errors.ts';

interface Signing {
  readonly key: Buffer;
  readonly stamp: string;
  readonly scope: string;
  /** The signature of the head, to which the first chunk's is chained. */
  readonly seed: string;
}

const KINDS = [
  'STREAMING-UNSIGNED-PAYLOAD-TRAILER',
  'STREAMING-AWS4-HMAC-SHA256-PAYLOAD',
  'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER',
];
const NOTHING = sha256('');
const LINE_END = Buffer.from('\r\n');

const incomplete = () => refuse('IncompleteBody');

/** The body that was meant, checked. `kind`: what x-amz-content-sha256 says. */
export function readChunks(call: ObjectCall, kind: string, signing: Signing): Buffer[] {
  if (!KINDS.includes(kind)) throw refuse('InvalidArgument', `unknown x-amz-content-sha256 ${kind}`);
  const isSigned = kind.startsWith('STREAMING-AWS4');
  const { headers } = call.request;
  const data = Buffer.concat(call.body);
  const parts: Buffer[] = [];
  let before = signing.seed;
  let at = 0;
  const line = (): string => {
    const end = data.indexOf(LINE_END, at);
    if (end < 0) throw incomplete();
    const text = data.toString('utf8', at, end);
    at = end + 2;
    return text;
  };
  const check = (text: string, given: string | undefined): void => {
    if (given === undefined || !equal(hmac(signing.key, text).toString('hex'), given))
      throw refuse('SignatureDoesNotMatch');
    before = given;
  };
  for (;;) {
    const [, size = '', given] = /^([0-9a-f]+)(?:;chunk-signature=([0-9a-f]{64}))?$/.exec(line()) ?? [];
    if (size === '') throw incomplete();
    const length = Number.parseInt(size, 16);
    const chunk = data.subarray(at, at + length);
    if (chunk.length < length) throw incomplete();
    if (isSigned) {
      const text = ['AWS4-HMAC-SHA256-PAYLOAD', signing.stamp, signing.scope, before, NOTHING, sha256(chunk)];
      check(text.join('\n'), given);
    }
    at += length;
    if (length === 0) break;
    parts.push(chunk);
    if (line() !== '') throw incomplete();
  }
  const declared = headers['x-amz-decoded-content-length'];
  if (declared === undefined) throw refuse('MissingContentLength');
  if (Number(declared) !== sizeOf(parts)) throw incomplete();
  if (kind.endsWith('-TRAILER')) checkTrailers(headers['x-amz-trailer'], line, parts);
  return parts;
}

/** The signature of trailers is left out: nothing signs with it that comes here. */
const checkTrailers = (announced: string | undefined, line: () => string, parts: readonly Buffer[]): void => {
  for (let text = line(); text !== ''; text = line()) {
    const [name = '', value = ''] = text.split(':', 2).map((word) => word.trim());
    if (name === 'x-amz-trailer-signature') continue;
    const algorithm = name.replace(/^x-amz-checksum-/, '') as ChecksumName;
    if (name !== announced?.toLowerCase())
      throw refuse('MalformedXML', 'The trailers are not those that were announced');
    const compute = CHECKSUMS[algorithm];
    if (compute !== undefined && compute(parts) !== value) throw badChecksum(algorithm);
  }
};

export const badChecksum = (algorithm: string) =>
  refuse('BadDigest', `The ${algorithm.toUpperCase()} you specified did not match the calculated checksum.`);
