import type { Context } from '../../shared/context.ts';
import { byteOrder } from './byte-order.ts';
import { SERVER_SIDE_MS } from './call.ts';
import { mustBeMeta } from './checking.ts';
import { bareEtag, dateOf, documentOf, resultOf, uploadsOf } from './s3-answers.ts';
import type { S3Bucket, S3Call } from './s3-bucket.ts';
import { crc32OfParts, etagOfParts } from './s3-guard.ts';
import {
  type NewObject,
  type ObjectFacts,
  type Part,
  type Range,
  StoreError,
  type Unfinished,
  type WriteCondition,
} from './store.ts';
import { escapeXml, textOf } from './xml.ts';

const sizeOf = (body: readonly { readonly length: number }[]): number =>
  body.reduce((sum, { length }) => sum + length, 0);

/** Uploads in parts to S3. */
export class S3Uploads {
  readonly #bucket: S3Bucket;

  constructor(bucket: S3Bucket) {
    this.#bucket = bucket;
  }

  /** Sent again when no answer has come: an upload that nobody knows of is found by `unfinished`. */
  async begin(key: string, object: Omit<NewObject, 'condition'>, c: Context): Promise<string> {
    const { vendor } = this.#bucket;
    mustBeMeta(object.meta, vendor.metaMax, key);
    const { document } = await this.#bucket.askDocument(
      {
        ...{ action: 's3:PutObject', method: 'POST', key, query: [['uploads', '']] },
        headers: {
          ...this.#bucket.describing(object),
          ...(vendor.guard === 'crc32' && { 'x-amz-checksum-algorithm': 'CRC32' }),
        },
      },
      c,
    );
    const id = textOf(document, 'UploadId');
    if (id === '') throw new StoreError('UNREACHABLE', `the upload of ${key} was begun without an id`, { key });
    return id;
  }

  async part(key: string, id: string, number: number, body: readonly Buffer[], c: Context): Promise<Part> {
    const headers = this.#bucket.guarding(body);
    const answer = await this.#bucket.ask({ ...partCall(key, id, number), headers, body }, c);
    const checksum = headers['x-amz-checksum-crc32'];
    return {
      ...{ number, etag: bareEtag(answer.headers.get('etag') ?? ''), size: sizeOf(body) },
      ...(checksum !== undefined && { checksum }),
    };
  }

  async copyPart(
    key: string,
    id: string,
    number: number,
    source: { readonly key: string; readonly range: Range; readonly ifMatch: string },
    c: Context,
  ): Promise<Part> {
    const { offset, length } = source.range;
    const copying = this.#bucket.copying(source.key, source.ifMatch);
    const range = { 'x-amz-copy-source-range': `bytes=${offset}-${offset + length - 1}` };
    const call: S3Call = {
      ...partCall(key, id, number),
      patienceMs: SERVER_SIDE_MS,
      headers: { ...copying, ...range },
    };
    const { document } = await this.#bucket.askDocument(call, c);
    const { etag, crc32: checksum } = resultOf(document);
    return { number, etag, size: length, ...(checksum !== undefined && { checksum }) };
  }

  async complete(
    key: string,
    id: string,
    parts: readonly Part[],
    condition: WriteCondition | undefined,
    c: Context,
  ): Promise<ObjectFacts> {
    if (parts.length === 0) throw new StoreError('INVALID', `the upload of ${key} has no parts`, { key });
    const call: S3Call = {
      ...{ action: 's3:PutObject', method: 'POST', key, query: [['uploadId', id]], patienceMs: SERVER_SIDE_MS },
      headers: { 'content-type': 'application/xml', ...this.#bucket.conditions(condition) },
      body: [Buffer.from(completionOf(parts))],
    };
    try {
      if (this.#bucket.vendor.unknownUploadsFail && !(await this.#isThere(key, id, c))) {
        throw new StoreError('NOT_FOUND', `there is no upload ${id} of ${key}`, { key });
      }
      const { answer, document } = await this.#bucket.askDocument(call, c);
      return {
        key,
        size: sizeOf(parts.map(({ size: length }) => ({ length }))),
        etag: resultOf(document).etag,
        modified: dateOf(answer.headers),
      };
    } catch (error) {
      const isOpen = error instanceof StoreError && (error.failure === 'NOT_FOUND' || error.failure === 'CONFLICT');
      // It may have been completed by a request of ours whose answer was lost.
      const there = isOpen ? await this.#completed(key, parts, c) : undefined;
      if (there !== undefined) return there;
      // With a condition on what is there, S3 says that there is nothing as if of an object that was to be read.
      const isGone = isOpen && condition?.ifMatch !== undefined && error.failure === 'NOT_FOUND';
      throw isGone && (await this.#isThere(key, id, c))
        ? new StoreError('CONFLICT', `${key} is not there any more`, { key })
        : error;
    }
  }

  async #completed(key: string, parts: readonly Part[], c: Context): Promise<ObjectFacts | undefined> {
    const etag = etagOfParts(parts.map((part) => part.etag));
    const crc32 = crc32OfParts(parts.map(({ checksum }) => checksum));
    const there = await this.#bucket.same(key, { crc32, etag }, c);
    return there && { key, size: there.size, etag: there.etag, modified: there.modified };
  }

  async #isThere(key: string, id: string, c: Context): Promise<boolean> {
    return (await this.list(key, c)).some((upload) => upload.key === key && upload.id === id);
  }

  async abort(key: string, id: string, c: Context): Promise<void> {
    const call: S3Call = { action: 's3:AbortMultipartUpload', method: 'DELETE', key, query: [['uploadId', id]] };
    const answer = await this.#bucket.call(call, c);
    if (answer.refusal === undefined) return;
    const error = this.#bucket.refused(answer, answer.refusal, call);
    if (error.failure !== 'NOT_FOUND') throw error;
  }

  async list(prefix: string, c: Context): Promise<readonly Unfinished[]> {
    const found: Unfinished[] = [];
    let from: readonly (readonly [string, string])[] = [];
    for (;;) {
      const answer = await this.#bucket.ask(
        {
          ...{ action: 's3:ListBucketMultipartUploads', method: 'GET', key: prefix, ofBucket: true },
          // Ceph encodes keys when it is asked to, and does not say so.
          query: [['uploads', ''], ['prefix', prefix], ...from],
        },
        c,
      );
      const { uploads, next } = uploadsOf(documentOf(answer.body, 's3:ListBucketMultipartUploads'));
      found.push(...uploads.filter(({ key }) => key.startsWith(prefix)));
      if (next === undefined) return found.sort((a, b) => byteOrder(a.key, b.key) || a.begun - b.begun);
      from = [
        ['key-marker', next.key],
        ['upload-id-marker', next.id],
      ];
    }
  }
}

const partCall = (key: string, id: string, number: number): S3Call => ({
  ...{ action: 's3:PutObject', method: 'PUT', key },
  query: [
    ['partNumber', String(number)],
    ['uploadId', id],
  ],
});

const completionOf = (parts: readonly Part[]): string => {
  const elements = parts.map(({ number, etag, checksum }) => {
    const sum = checksum === undefined ? '' : `<ChecksumCRC32>${checksum}</ChecksumCRC32>`;
    return `<Part><PartNumber>${number}</PartNumber><ETag>${escapeXml(`"${etag}"`)}</ETag>${sum}</Part>`;
  });
  return `<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${elements.join('')}</CompleteMultipartUpload>`;
};
