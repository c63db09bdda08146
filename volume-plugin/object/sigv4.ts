import { basicTime, byText, canonicalQuery, hmac, hmacHex, SigningKey, sha256, trimmed } from './canonical.ts';
import type { SignableRequest, SignedRequest, Signer, StoreKey } from './signing.ts';

export interface SigV4Options {
  readonly region: string;
  /** Usually `s3`. */
  readonly service?: string;
}

/** Fields that may be changed on the way, or that the client adds: they are not signed. */
const UNSIGNED = new Set([
  'authorization',
  'cache-control',
  'connection',
  'expect',
  'from',
  'keep-alive',
  'max-forwards',
  'pragma',
  'referer',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'user-agent',
  'x-amzn-trace-id',
]);
const ALGORITHM = 'AWS4-HMAC-SHA256';
const CONTENT = 'x-amz-content-sha256';

/**
 * Signatures of AWS, version 4, as S3 wants them: the path is encoded once and not normalised, and the body is not
 * signed (`UNSIGNED-PAYLOAD`) unless the request says in x-amz-content-sha256 what it is.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
 */
export class SigV4 implements Signer {
  readonly #scope: string;
  readonly #keys: SigningKey;

  constructor({ region, service = 's3' }: SigV4Options) {
    this.#scope = `${region}/${service}/aws4_request`;
    this.#keys = new SigningKey((secret, day) =>
      hmac(hmac(hmac(hmac(`AWS4${secret}`, day), region), service), 'aws4_request'),
    );
  }

  sign(request: SignableRequest, key: StoreKey | undefined, time: number): SignedRequest {
    const query = canonicalQuery(request.query, false);
    const target = query === '' ? request.path : `${request.path}?${query}`;
    const headers: Record<string, string> = { host: request.host, ...request.headers };
    if (key === undefined) return { target, headers };
    const date = basicTime(time);
    const content = headers[CONTENT] ?? 'UNSIGNED-PAYLOAD';
    headers[CONTENT] = content;
    headers['x-amz-date'] = date;
    if (key.token !== undefined) headers['x-amz-security-token'] = key.token;
    const names = Object.keys(headers).filter((name) => !UNSIGNED.has(name) && !/^(proxy|sec)-/.test(name));
    names.sort(byText);
    let fields = '';
    for (const name of names) fields += `${name}:${trimmed(headers[name] ?? '')}\n`;
    const signed = names.join(';');
    const canonical = `${request.method}\n${request.path}\n${query}\n${fields}\n${signed}\n${content}`;
    const day = date.slice(0, 8);
    const scope = `${day}/${this.#scope}`;
    const signature = hmacHex(this.#keys.get(key.secret, day), `${ALGORITHM}\n${date}\n${scope}\n${sha256(canonical)}`);
    headers['authorization'] =
      `${ALGORITHM} Credential=${key.id}/${scope}, SignedHeaders=${signed}, Signature=${signature}`;
    return { target, headers };
  }
}
