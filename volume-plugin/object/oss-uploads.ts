import type { Context } from '../../shared/context.ts';
import { bareEtag, dateOf, documentOf, uploadsOf } from './answers.ts';
import { byteOrder } from './byte-order.ts';
import { SERVER_SIDE_MS, type StoreAnswer } from './call.ts';
import { mustBeMeta } from './checking.ts';
import { conditionHeaders, type OssBucket, type OssCall } from './oss-bucket.ts';
import { crc64Of, crcOfParts, isIntact, toldCrc } from './oss-guard.ts';
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

/** Looks at an object: its facts and checksum. */
export type Look = (
  key: string,
  c: Context,
) => Promise<{ readonly facts: ObjectFacts; readonly crc: string | undefined } | undefined>;

/** Uploads in parts to OSS. The checksums of parts add up to that of the whole, which is compared at the end. */
export class OssUploads {
  readonly #bucket: OssBucket;
  readonly #metaMax: number;
  readonly #look: Look;

  constructor(bucket: OssBucket, metaMax: number, look: Look) {
    this.#bucket = bucket;
    this.#metaMax = metaMax;
    this.#look = look;
  }

  /** Sent again when no answer has come: an upload that nobody knows of is found by `list`. */
  async begin(key: string, object: Omit<NewObject, 'condition'>, c: Context): Promise<string> {
    mustBeMeta(object.meta, this.#metaMax, key);
    const headers = this.#bucket.describing(object);
    const call: OssCall = { action: 'oss:PutObject', method: 'POST', key, query: [['uploads', '']], headers };
    const answer = await this.#bucket.ask(call, c);
    const id = textOf(documentOf(answer.body, call.action), 'UploadId');
    if (id === '') throw new StoreError('UNREACHABLE', `the upload of ${key} was begun without an id`, { key });
    return id;
  }

  async part(key: string, id: string, number: number, body: readonly Buffer[], c: Context): Promise<Part> {
    const checksum = crc64Of(body);
    const call = { ...partCall(key, id, number), body };
    const { headers } = await this.#bucket.ask(call, c, (answer) => isIntact(answer.headers, checksum));
    return { number, etag: bareEtag(headers.get('etag') ?? ''), size: sizeOf(body), checksum };
  }

  async copyPart(
    key: string,
    id: string,
    number: number,
    source: { readonly key: string; readonly range: Range; readonly ifMatch: string },
    c: Context,
  ): Promise<Part> {
    const { offset, length } = source.range;
    const headers = {
      ...this.#bucket.copying(source.key, source.ifMatch),
      'x-oss-copy-source-range': `bytes=${offset}-${offset + length - 1}`,
    };
    const answer = await this.#bucket.ask({ ...partCall(key, id, number), headers, patienceMs: SERVER_SIDE_MS }, c);
    const checksum = toldCrc(answer.headers);
    const etag = bareEtag(textOf(documentOf(answer.body, 'oss:PutObject'), 'ETag'));
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
    const call: OssCall = {
      ...{ action: 'oss:PutObject', method: 'POST', key, query: [['uploadId', id]], patienceMs: SERVER_SIDE_MS },
      headers: { 'content-type': 'application/xml', ...conditionHeaders(condition) },
      body: [Buffer.from(completionOf(parts))],
    };
    const size = sizeOf(parts.map(({ size: length }) => ({ length })));
    const crc = crcOfParts(parts);
    const answer = await this.#bucket.call(call, c);
    if (answer.refusal === undefined) {
      if (!isIntact(answer.headers, crc)) throw this.#bucket.damaged(call);
      return { key, size, etag: await this.#etagOf(answer, key, c), modified: dateOf(answer.headers) };
    }
    const error = this.#bucket.refused(answer, answer.refusal, call);
    const isOpen = error.failure === 'NOT_FOUND' || (error.failure === 'CONFLICT' && answer.repeated);
    // It may have been completed by a request of ours whose answer was lost.
    const there = isOpen && crc !== undefined ? await this.#look(key, c) : undefined;
    if (there !== undefined && there.crc === crc && there.facts.size === size) return there.facts;
    throw error;
  }

  async #etagOf(answer: StoreAnswer, key: string, c: Context): Promise<string> {
    const told = answer.headers.get('etag') ?? textOf(documentOf(answer.body, 'oss:PutObject'), 'ETag');
    if (told !== '') return bareEtag(told);
    return (await this.#look(key, c))?.facts.etag ?? '';
  }

  async abort(key: string, id: string, c: Context): Promise<void> {
    const call: OssCall = { action: 'oss:AbortMultipartUpload', method: 'DELETE', key, query: [['uploadId', id]] };
    const answer = await this.#bucket.call(call, c);
    if (answer.refusal === undefined) return;
    const error = this.#bucket.refused(answer, answer.refusal, call);
    if (error.failure !== 'NOT_FOUND') throw error;
  }

  async list(prefix: string, c: Context): Promise<readonly Unfinished[]> {
    const found: Unfinished[] = [];
    let from: readonly (readonly [string, string])[] = [];
    for (;;) {
      const call: OssCall = {
        ...{ action: 'oss:ListMultipartUploads', method: 'GET', key: prefix, ofBucket: true },
        query: [['uploads', ''], ['encoding-type', 'url'], ['max-uploads', '1000'], ['prefix', prefix], ...from],
      };
      const answer = await this.#bucket.ask(call, c);
      const { uploads, next } = uploadsOf(documentOf(answer.body, call.action));
      found.push(...uploads);
      if (next === undefined) return found.sort((a, b) => byteOrder(a.key, b.key) || a.begun - b.begun);
      from = [
        ['key-marker', next.key],
        ['upload-id-marker', next.id],
      ];
    }
  }
}

const partCall = (key: string, id: string, number: number): OssCall => ({
  ...{ action: 'oss:PutObject', method: 'PUT', key },
  query: [
    ['partNumber', String(number)],
    ['uploadId', id],
  ],
});

const completionOf = (parts: readonly Part[]): string => {
  const elements = parts.map(
    ({ number, etag }) => `<Part><PartNumber>${number}</PartNumber><ETag>${escapeXml(`"${etag}"`)}</ETag></Part>`,
  );
  return `<CompleteMultipartUpload>${elements.join('')}</CompleteMultipartUpload>`;
};
