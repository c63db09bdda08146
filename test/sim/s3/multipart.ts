/** Uploads in parts. */
import { type Bucket, bodyOf, type StoredPart, type StoredUpload } from '../objects/bucket.ts';
import { CHECKSUM_NAMES, CHECKSUMS, type ChecksumName, checksumElement, hashOf } from '../objects/checksums.ts';
import { type ObjectReply, queried, sizeOf, sliceOf } from '../objects/message.ts';
import type { ObjectCall } from '../objects/service.ts';
import { childrenOf, element, type Node, readXml, textOf } from '../objects/xml.ts';
import { checkWrite } from './conditions.ts';
import { refuse } from './errors.ts';
import { limitOf } from './listing.ts';
import { type Allow, rangeOf, sourceOf, sumElements, sumHeaders } from './objects.ts';
import { empty, iso, type S3World, unquoted, xmlReply } from './world.ts';
import { checkKey, checkRoom, checkSums, describe } from './writing.ts';

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
  return xmlReply('InitiateMultipartUploadResult', content, {
    ...(algorithm === undefined
      ? {}
      : {
          'x-amz-checksum-algorithm': algorithm.toUpperCase(),
          'x-amz-checksum-type': whole ? 'FULL_OBJECT' : 'COMPOSITE',
        }),
  });
}

const uploadOf = (bucket: Bucket, call: ObjectCall): StoredUpload => {
  const id = queried(call.request, 'uploadId') ?? '';
  const found = bucket.uploads.get(id);
  if (found === undefined || found.key !== call.key) throw refuse('NoSuchUpload', undefined, { UploadId: id });
  return found;
};

const numberOf = (call: ObjectCall): number => {
  const text = queried(call.request, 'partNumber') ?? '';
  const number = Number(text);
  if (!/^\d+$/.test(text) || number < 1 || number > 10_000) {
    throw refuse('InvalidArgument', 'Part number must be an integer between 1 and 10000, inclusive', {
      ArgumentName: 'partNumber',
      ArgumentValue: text,
    });
  }
  return number;
};

const store = (
  world: S3World,
  upload: StoredUpload,
  number: number,
  body: readonly Buffer[],
  sums: Record<string, string>,
): StoredPart => {
  const size = sizeOf(body);
  const etag = world.etagOf(body, size).replace(/-1$/, '');
  const part = { number, body, size, etag, modified: world.now(), checksums: sums };
  upload.parts.set(number, part);
  return part;
};

export function uploadPart(world: S3World, call: ObjectCall): ObjectReply {
  const bucket = world.bucket(call);
  const number = numberOf(call);
  const upload = uploadOf(bucket, call);
  const size = sizeOf(call.body);
  if (size > world.limits.putMax) throw refuse('EntityTooLarge', undefined, { ProposedSize: String(size) });
  const sums = checkSums(call);
  const [given = 'null'] = Object.keys(sums);
  const wanted = upload.checksum;
  if (wanted !== undefined && given !== wanted.name) {
    throw refuse(
      'InvalidRequest',
      `Checksum Type mismatch occurred, expected checksum Type: ${wanted.name}, actual checksum Type: ${given}`,
    );
  }
  checkRoom(bucket, undefined, size);
  const part = store(world, upload, number, call.body, sums);
  return empty(200, { ETag: `"${part.etag}"`, ...sumHeaders(sums) });
}

export function uploadPartCopy(world: S3World, call: ObjectCall, allow: Allow): ObjectReply {
  const bucket = world.bucket(call);
  const number = numberOf(call);
  const upload = uploadOf(bucket, call);
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
  if (length > world.limits.copyMax)
    throw refuse(
      'InvalidRequest',
      'The specified copy source is larger than the maximum allowable size for a copy source: 5368709120',
    );
  checkRoom(bucket, undefined, length);
  const body = sliceOf(source.body, offset, length);
  const name = upload.checksum?.name as ChecksumName | undefined;
  const sums = name === undefined ? {} : { [name]: CHECKSUMS[name](body) };
  const part = store(world, upload, number, body, sums);
  const content = element('LastModified', iso(part.modified)) + element('ETag', `"${part.etag}"`) + sumElements(sums);
  return xmlReply('CopyPartResult', content);
}

/** The parts that a completion names, checked. */
const chosen = (world: S3World, upload: StoredUpload, root: Node): StoredPart[] => {
  const listed = childrenOf(root, 'Part');
  if (root.name !== 'CompleteMultipartUpload' || listed.length === 0) throw refuse('MalformedXML');
  let before = 0;
  const parts = listed.map((node) => {
    const number = Number(textOf(node, 'PartNumber'));
    const etag = textOf(node, 'ETag');
    if (!Number.isInteger(number) || etag === undefined) throw refuse('MalformedXML');
    if (number <= before) throw refuse('InvalidPartOrder', undefined, { UploadId: upload.id });
    before = number;
    const part = upload.parts.get(number);
    const wrong = refuse('InvalidPart', undefined, { UploadId: upload.id, PartNumber: String(number), ETag: etag });
    if (part === undefined || part.etag !== unquoted(etag)) throw wrong;
    for (const name of CHECKSUM_NAMES) {
      const sum = textOf(node, checksumElement(name));
      if (sum !== undefined && sum !== part.checksums[name]) throw wrong;
      if (sum === undefined && upload.checksum?.name === name && !upload.checksum.whole) {
        throw refuse(
          'InvalidRequest',
          `The upload was created using a ${name} checksum. The complete request must include the checksum for each part. It was missing for part ${number} in the request.`,
        );
      }
    }
    return part;
  });
  const small = parts.slice(0, -1).find(({ size }) => size < world.limits.partMin);
  if (small !== undefined) {
    throw refuse('EntityTooSmall', undefined, {
      ProposedSize: String(small.size),
      MinSizeAllowed: String(world.limits.partMin),
      PartNumber: String(small.number),
      ETag: small.etag,
    });
  }
  return parts;
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
  const upload = uploadOf(bucket, call);
  const parts = chosen(world, upload, readXml(call.body));
  const { body, size } = bodyOf(parts);
  const declared = call.request.headers['x-amz-mp-object-size'];
  if (declared !== undefined && Number(declared) !== size) {
    throw refuse('InvalidRequest', `The provided 'x-amz-mp-object-size' header does not match what was computed.`);
  }
  const checksums = sumOf(upload, parts, body);
  for (const [name, sum] of Object.entries(checksums)) {
    const given = call.request.headers[`x-amz-checksum-${name}`];
    if (given !== undefined && given !== sum)
      throw refuse('BadDigest', `The ${name} you specified did not match the calculated checksum.`);
  }
  checkWrite(call, bucket.find(key), world.lacking.complete);
  const digests = parts.map((part) => Buffer.from(part.etag, 'hex'));
  const etag = `${hashOf('md5', digests).toString('hex')}-${parts.length}`;
  const { meta, headers, storageClass } = upload;
  bucket.uploads.delete(upload.id);
  bucket.put({ key, body, size, etag, modified: world.now(), meta, headers, storageClass, checksums });
  const content = [
    element('Location', `http://${call.request.headers['host']}/${call.bucket}/${encodeURIComponent(key)}`),
    element('Bucket', call.bucket),
    element('Key', key),
    element('ETag', `"${etag}"`),
    sumElements(checksums),
  ];
  return xmlReply('CompleteMultipartUploadResult', content.join(''));
}

export function abortUpload(world: S3World, call: ObjectCall): ObjectReply {
  const bucket = world.bucket(call);
  bucket.uploads.delete(uploadOf(bucket, call).id);
  return empty(204);
}

export function listParts(world: S3World, call: ObjectCall): ObjectReply {
  const upload = uploadOf(world.bucket(call), call);
  const limit = limitOf(call, 'max-parts');
  const marker = Number(queried(call.request, 'part-number-marker') ?? '0');
  const behind = [...upload.parts.values()].filter(({ number }) => number > marker).sort((a, b) => a.number - b.number);
  const page = behind.slice(0, limit);
  return xmlReply(
    'ListPartsResult',
    [
      element('Bucket', call.bucket),
      element('Key', call.key),
      element('UploadId', upload.id),
      element('StorageClass', upload.storageClass),
      element('PartNumberMarker', marker),
      element('NextPartNumberMarker', page.at(-1)?.number ?? 0),
      element('MaxParts', limit),
      element('IsTruncated', page.length < behind.length),
      ...page.map(
        ({ number, etag, size, modified, checksums }) =>
          `<Part>${element('PartNumber', number)}${element('LastModified', iso(modified))}${element('ETag', `"${etag}"`)}${element('Size', size)}${sumElements(checksums)}</Part>`,
      ),
    ].join(''),
  );
}
