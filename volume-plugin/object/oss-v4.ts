import { basicTime, byText, canonicalQuery, hmac, hmacHex, SigningKey, sha256 } from './canonical.ts';
import type { SignableRequest, SignedRequest, Signer, StoreKey } from './signing.ts';

export interface OssV4Options {
  /** Such as `cn-hangzhou`, without `oss-`. */
  readonly region: string;
  /** Usually `oss`; `oss-cloudbox` for CloudBoxes. */
  readonly product?: string;
  /** Fields that are signed too when a request has them, beside the type, the MD5 and all of x-oss-: such as `host`. */
  readonly additional?: readonly string[];
}

const ALGORITHM = 'OSS4-HMAC-SHA256';
const CONTENT = 'x-oss-content-sha256';
const isSigned = (name: string): boolean =>
  name === 'content-type' || name === 'content-md5' || name.startsWith('x-oss-');

/**
 * Signatures of OSS, version 4. What is signed names the bucket in either style of addressing; of the body nothing is
 * (`UNSIGNED-PAYLOAD`): OSS knows no other value in headers.
 * https://www.alibabacloud.com/help/en/oss/developer-reference/recommend-to-use-signature-version-4
 */
export class OssV4 implements Signer {
  readonly #scope: string;
  readonly #additional: ReadonlySet<string>;
  readonly #keys: SigningKey;

  constructor({ region, product = 'oss', additional = [] }: OssV4Options) {
    this.#scope = `${region}/${product}/aliyun_v4_request`;
    this.#additional = new Set(additional.map((name) => name.toLowerCase()));
    this.#keys = new SigningKey((secret, day) =>
      hmac(hmac(hmac(hmac(`aliyun_v4${secret}`, day), region), product), 'aliyun_v4_request'),
    );
  }

  sign(request: SignableRequest, key: StoreKey | undefined, time: number): SignedRequest {
    const query = canonicalQuery(request.query, true);
    const target = query === '' ? request.path : `${request.path}?${query}`;
    const headers: Record<string, string> = { host: request.host, ...request.headers };
    if (key === undefined) return { target, headers };
    const date = basicTime(time);
    headers[CONTENT] ??= 'UNSIGNED-PAYLOAD';
    headers['x-oss-date'] = date;
    if (key.token !== undefined) headers['x-oss-security-token'] = key.token;
    const names = Object.keys(headers).filter((name) => isSigned(name) || this.#additional.has(name));
    names.sort(byText);
    let fields = '';
    for (const name of names) fields += `${name}:${(headers[name] ?? '').trim()}\n`;
    const additional = names.filter((name) => !isSigned(name)).join(';');
    const canonical = `${request.method}\n${request.resource}\n${query}\n${fields}\n${additional}\n${headers[CONTENT]}`;
    const day = date.slice(0, 8);
    const scope = `${day}/${this.#scope}`;
    const signature = hmacHex(this.#keys.get(key.secret, day), `${ALGORITHM}\n${date}\n${scope}\n${sha256(canonical)}`);
    const named = additional === '' ? '' : `AdditionalHeaders=${additional},`;
    headers['authorization'] = `${ALGORITHM} Credential=${key.id}/${scope},${named}Signature=${signature}`;
    return { target, headers };
  }
}
