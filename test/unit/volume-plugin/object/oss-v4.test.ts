// Held against the signatures of Aliyun's own client.
import { createRequire } from 'node:module';
import t from 'tap';
import { OssV4 } from '../../../../volume-plugin/object/oss-v4.ts';
import { RequestMaker } from './random-requests.ts';

t.setTimeout(120_000);

interface AliOss {
  authorizationV4(
    method: string,
    request: { headers: Record<string, string>; queries: Record<string, string | null> },
    bucket: string,
    object: string,
    additional?: readonly string[],
  ): string;
}
type AliOssClass = new (options: Record<string, unknown>) => AliOss;

/** It has no types of its own. */
const OSS: AliOssClass = createRequire(import.meta.url)('ali-oss');

const REGION = 'cn-hangzhou';
const KEY = { id: 'LTAI5tExample', secret: 'secret/+=' };
const TEMPORARY = { id: 'STS.Example', secret: 'other', token: 'CAIS+/==' };
const TIME = Date.UTC(2026, 10, 22, 16, 4, 5, 678);
const DAY_MS = 86_400_000;

const clientOf = ({ id, secret, token }: typeof KEY & { token?: string }): AliOss =>
  new OSS({
    region: `oss-${REGION}`,
    accessKeyId: id,
    accessKeySecret: secret,
    authorizationV4: true,
    ...(token !== undefined && { stsToken: token }),
  });

for (const additional of [[], ['host', 'range', 'if-match']]) {
  const name = additional.length === 0 ? '' : `, with additional headers ${additional.join(', ')}`;
  t.test(`5,000 random requests are signed as ali-oss signs them${name}`, async (t) => {
    const maker = new RequestMaker(20261122 + additional.length);
    const ours = new OssV4({ region: REGION, additional });
    const signers = [KEY, TEMPORARY].map((key) => ({ key, theirs: clientOf(key) }));
    let different = 0;
    for (let round = 0; round < 5_000; round += 1) {
      const request = maker.request('x-oss-');
      const { key, theirs } = maker.one(signers);
      const { headers } = ours.sign(request, key, TIME + maker.upTo(3) * DAY_MS);
      const { authorization, ...others } = headers;
      const queries = Object.fromEntries(request.query.map(([name, value]) => [name, value === '' ? null : value]));
      const present = additional.filter((name) => name in others);
      const signature = theirs.authorizationV4(
        request.method,
        { headers: others, queries },
        request.bucket,
        request.key,
        present,
      );
      if (authorization === signature) continue;
      different += 1;
      if (different <= 3) t.comment(JSON.stringify({ request, headers, signature }));
    }
    t.equal(different, 0);
  });
}

t.test('a word without a value has no equals sign, and a key of STS brings its token along', async (t) => {
  const query = [
    ['uploads', ''],
    ['prefix', 'a b'],
  ] as const;
  const request = { method: 'POST', host: 'b.h', path: '/k', resource: '/b/k', query, headers: {} };
  const signed = new OssV4({ region: REGION }).sign(request, TEMPORARY, TIME);
  t.equal(signed.target, '/k?prefix=a%20b&uploads');
  t.match(signed.headers, {
    'x-oss-date': '20261122T160405Z',
    'x-oss-content-sha256': 'UNSIGNED-PAYLOAD',
    'x-oss-security-token': TEMPORARY.token,
  });
  t.same(new OssV4({ region: REGION }).sign({ ...request, query: [] }, undefined, TIME), {
    target: '/k',
    headers: { host: 'b.h' },
  });
});
