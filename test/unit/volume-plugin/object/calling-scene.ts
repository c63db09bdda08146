import { type Context, now } from '../../../../shared/context.ts';
import { BucketAddress } from '../../../../volume-plugin/object/addressing.ts';
import type { StoreCall } from '../../../../volume-plugin/object/call.ts';
import { type CallerOptions, StoreCaller } from '../../../../volume-plugin/object/calling.ts';
import type { Flight, Http } from '../../../../volume-plugin/object/http/http-client.ts';
import { HttpError } from '../../../../volume-plugin/object/http/http-error.ts';
import type { HttpAnswer, HttpRequest, Origin } from '../../../../volume-plugin/object/http/message.ts';
import { originOf } from '../../../../volume-plugin/object/http/origin.ts';
import { fixedKey } from '../../../../volume-plugin/object/key-source.ts';
import type { StoreKey } from '../../../../volume-plugin/object/signing.ts';
import { SigV4 } from '../../../../volume-plugin/object/sigv4.ts';

export const KEY: StoreKey = { id: 'AKIA', secret: 'secret' };

export interface Said {
  readonly status?: number;
  /** `<Code>` of an error. */
  readonly code?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Milliseconds until the first byte. */
  readonly afterMs?: number;
}

/** What the store does with a request: an answer, a failure of the connection, or nothing for ever. */
export type Act = Said | HttpError | 'silent';

/** A store without a network. */
export class FakeHttp implements Http {
  readonly requests: HttpRequest[] = [];
  readonly sentAt: number[] = [];
  given = 0;
  /** A proxy that reads requests. */
  proxy: string | undefined;
  readonly #act: (request: HttpRequest, number: number) => Act;

  constructor(act: (request: HttpRequest, number: number) => Act) {
    this.#act = act;
  }

  request(origin: Origin, request: HttpRequest, c: Context): Promise<HttpAnswer> {
    return this.begin(origin, request, c).answer;
  }

  begin(_origin: Origin, request: HttpRequest, c: Context): Flight {
    const number = this.requests.push(request) - 1;
    this.sentAt.push(now());
    let cancel = (): void => undefined;
    const answer = new Promise<HttpAnswer>((resolve, reject) => {
      // As a connection does, it keeps the process alive.
      const alive = setTimeout(() => undefined, 60_000);
      const fail = (): void => {
        clearTimeout(alive);
        reject(new HttpError('ended', 'it was given up', { sent: true, cause: c.signal.reason }));
      };
      cancel = () => {
        this.given += 1;
        fail();
      };
      c.signal.addEventListener('abort', fail);
      request.onSent?.();
      const act = this.#act(request, number);
      if (act === 'silent') return;
      clearTimeout(alive);
      if (act instanceof HttpError) {
        reject(act);
        return;
      }
      const answered = (): void => {
        const made = answerOf(act);
        request.onHead?.(made);
        const into = request.into?.(made);
        if (into !== undefined) made.body.copy(into);
        resolve(made);
      };
      if (act.afterMs === undefined) queueMicrotask(answered);
      else setTimeout(answered, act.afterMs);
    });
    return { answer, cancel };
  }

  proxyOf(): string | undefined {
    return this.proxy;
  }

  close(): void {
    this.requests.length = 0;
  }
}

const answerOf = ({ status = 200, code, headers = {}, body }: Said): HttpAnswer => {
  const text =
    body ??
    (code === undefined ? '' : `<?xml version="1.0"?>\n<Error><Code>${code}</Code><Message>a &lt; b</Message></Error>`);
  return { status, headers: new Map(Object.entries(headers)), length: text.length, body: Buffer.from(text) };
};

export const address = new BucketAddress(originOf(false, 'store.test', 80), 'bucket', 'path');

export const getOf = (key: string, more: Partial<StoreCall> = {}): StoreCall => ({
  action: 's3:GetObject',
  method: 'GET',
  address: address.of(key),
  key,
  ...more,
});

/** Without pauses to speak of. */
export const callerOf = (http: Http, more: Partial<CallerOptions> = {}): StoreCaller =>
  new StoreCaller({
    http,
    signer: new SigV4({ region: 'eu-central-1' }),
    keys: fixedKey(KEY),
    random: () => 0.01,
    ...more,
  });
