/** What S3 alone does about uploads in parts: its checksums. */
import type { StoredPart, StoredUpload } from '../objects/bucket.ts';
import { CHECKSUM_NAMES, CHECKSUMS, type ChecksumName, checksumElement } from '../objects/checksums.ts';
import { type ObjectReply, sliceOf } from '../objects/message.ts';
import { sourceOf } from '../objects/reading.ts';
import { iso } from '../objects/replies.ts';
import type { ObjectCall } from '../objects/service.ts';
import type { Allow } from '../objects/store-service.ts';
import { addPart, chosenParts, joined, placeOf, uploadOf, wrongPart } from '../objects/uploads.ts';
import { element, type Node, textOf } from '../objects/xml.ts';
import { sumElements } from './checksums.ts';
import { checkWrite } from './conditions.ts';
import { rangeOf } from './dialect.ts';
import { refuse } from './errors.ts';
import { checkCopied } from './objects.ts';
import type { S3World } from './world.ts';
import { checkKey, describe } from './writing.ts';

export function createUpload(world: S3World, call: ObjectCall): ObjectReply {
  const bucket = world.bucket(call);
  checkKey(call.key);
  const { headers } = call.request;
  const algorithm = headers['x-amz-checksum-algorithm']?.toLowerCase();
  if (algorithm !== undefined && !CHECKSUM_NAMES.includes(algorithm as ChecksumName)) {
    throw refuse(
      'InvalidRequest',
      'Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]',
    );
  }
  const type = headers['x-amz-checksum-type'];
  const whole = type === 'FULL_OBJECT' || algorithm === 'crc64nvme';
  if (whole && algorithm?.startsWith('sha')) {
    throw refuse(
      'InvalidRequest',
      `The FULL_OBJECT checksum type cannot be used with the ${algorithm} checksum algorithm.`,
    );
  }
  const id = `${world.next()}${world.next()}`;
  bucket.uploads.set(id, {
    id,
    key: call.key,
    begun: world.now(),
    parts: new Map(),
    ...describe(call),
    ...(algorithm === undefined ? {} : { checksum: { name: algorithm, whole } }),
  });
  const content = element('Bucket', call.bucket) + element('Key', call.key) + element('UploadId', id);
  return world.xml('InitiateMultipartUploadResult', content, {
    ...(algorithm === undefined
      ? {}
      : {
          'x-amz-checksum-algorithm': algorithm.toUpperCase(),
          'x-amz-checksum-type': whole ? 'FULL_OBJECT' : 'COMPOSITE',
        }),
  });
}

export function uploadPartCopy(world: S3World, call: ObjectCall, allow: Allow): ObjectReply {
  const place = placeOf(world, call);
  const source = sourceOf(world, call, allow);
  const text = call.request.headers['x-amz-copy-source-range'];
  const range = rangeOf(text, source.size);
  const last = Number(/-(\d+)$/.exec(text ?? '')?.[1]);
  if (text !== undefined && (range === undefined || !/^bytes=\d+-\d+$/.test(text) || last >= source.size)) {
    throw refuse('InvalidArgument', `Range specified is not valid for source object of size: ${source.size}`, {
      ArgumentName: 'x-amz-copy-source-range',
      ArgumentValue: text,
    });
  }
  const { offset, length } = range ?? { offset: 0, length: source.size };
  checkCopied(world, length);
  const body = sliceOf(source.body, offset, length);
  const name = place.upload.checksum?.name as ChecksumName | undefined;
  const sums = name === undefined ? {} : { [name]: CHECKSUMS[name](body) };
  const part = addPart(world, place, body, sums);
  const content = element('LastModified', iso(part.modified)) + element('ETag', `"${part.etag}"`) + sumElements(sums);
  return world.xml('CopyPartResult', content);
}

/** The checksums that a completion says of a part. */
const checkPart = (world: S3World, upload: StoredUpload, node: Node, { number, etag, checksums }: StoredPart): void => {
  for (const name of CHECKSUM_NAMES) {
    const sum = textOf(node, checksumElement(name));
    if (sum !== undefined && sum !== checksums[name]) throw wrongPart(world, upload, number, etag);
    if (sum === undefined && upload.checksum?.name === name && !upload.checksum.whole) {
      throw refuse(
        'InvalidRequest',
        `The upload was created using a ${name} checksum. The complete request must include the checksum for each part. It was missing for part ${number} in the request.`,
      );
    }
  }
};

const sumOf = (upload: StoredUpload, parts: readonly StoredPart[], body: readonly Buffer[]): Record<string, string> => {
  const { checksum } = upload;
  if (checksum === undefined) return {};
  const name = checksum.name as ChecksumName;
  if (checksum.whole) return { [name]: CHECKSUMS[name](body) };
  const sums = parts.map((part) => Buffer.from(part.checksums[name] ?? '', 'base64'));
  return { [name]: `${CHECKSUMS[name](sums)}-${parts.length}` };
};

export function completeUpload(world: S3World, call: ObjectCall): ObjectReply {
  const bucket = world.bucket(call);
  const { key } = call;
  const upload = uploadOf(world, bucket, call);
  const parts = chosenParts(world, upload, call, (node, part) => checkPart(world, upload, node, part));
  const object = joined(world, upload, parts);
  const declared = call.request.headers['x-amz-mp-object-size'];
  if (declared !== undefined && Number(declared) !== object.size) {
    throw refuse('InvalidRequest', `The provided 'x-amz-mp-object-size' header does not match what was computed.`);
  }
  const checksums = sumOf(upload, parts, object.body);
  for (const [name, sum] of Object.entries(checksums)) {
    const given = call.request.headers[`x-amz-checksum-${name}`];
    if (given !== undefined && given !== sum)
      throw refuse('BadDigest', `The ${name} you specified did not match the calculated checksum.`);
  }
  checkWrite(call, bucket.find(key), world.lacking.complete);
  bucket.uploads.delete(upload.id);
  bucket.put({ ...object, checksums });
  const content = [
    element('Location', `http://${call.request.headers['host']}/${call.bucket}/${encodeURIComponent(key)}`),
    element('Bucket', call.bucket),
    element('Key', key),
    element('ETag', `"${object.etag}"`),
    sumElements(checksums),
  ];
  return world.xml('CompleteMultipartUploadResult', content.join(''));
}
