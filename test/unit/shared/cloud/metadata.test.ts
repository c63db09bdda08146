import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import t, { type Test } from 'tap';
import { Metadata } from '../../../../shared/cloud/metadata.ts';
import { newContext } from '../../../../shared/context.ts';
import { PluginError } from '../../../../shared/errors.ts';
import { silentLogger } from '../../../../shared/log.ts';

const context = (ms = 5_000) => newContext(silentLogger, ms);

interface Service {
  readonly endpoint: string;
  /** `PUT /latest/api/token`, one a request. */
  readonly calls: string[];
  /** Tokens that are refused from now on. */
  readonly revoked: Set<string>;
}

type Handler = (request: IncomingMessage, response: ServerResponse) => boolean;

/** A service that gives tokens t1, t2, … and answers `meta-data/instance-id` and `meta-data/macs/`. */
const service = async (t: Test, cloud: 'aws' | 'aliyun', special: Handler = () => false): Promise<Service> => {
  const calls: string[] = [];
  const revoked = new Set<string>();
  let tokens = 0;
  const vendor = cloud === 'aws' ? 'x-aws-ec2' : 'x-aliyun-ecs';
  const server = createServer((request, response) => {
    calls.push(`${request.method} ${request.url}`);
    if (special(request, response)) return;
    if (request.method === 'PUT') {
      if (request.headers[`${vendor}-metadata-token-ttl-seconds`] === undefined) response.statusCode = 400;
      tokens += 1;
      response.end(`t${tokens}`);
      return;
    }
    const token = request.headers[`${vendor}-metadata-token`];
    if (typeof token !== 'string' || !/^t\d+$/.test(token) || revoked.has(token)) {
      response.writeHead(401).end('<html>Unauthorized</html>');
      return;
    }
    if (request.url === '/latest/meta-data/instance-id') response.end('i-0123\n');
    else if (request.url === '/latest/meta-data/macs/') response.end('02:00:00:00:00:01/\n02:00:00:00:00:02/\n');
    else response.writeHead(404).end('<html>Not Found</html>');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return { endpoint: `http://127.0.0.1:${address.port}`, calls, revoked };
};

const failure = (promise: Promise<unknown>): Promise<PluginError> =>
  promise.then(
    () => Promise.reject(new Error('it succeeded')),
    (error: unknown) => (error instanceof PluginError ? error : Promise.reject(error)),
  );

for (const cloud of ['aws', 'aliyun'] as const) {
  t.test(`${cloud}: a token is fetched once, then sent with each request`, async (t) => {
    const { endpoint, calls } = await service(t, cloud);
    const metadata = new Metadata({ cloud, endpoint });
    t.same(calls, [], 'nothing is asked at construction');
    t.equal(await metadata.get('meta-data/instance-id', context()), 'i-0123');
    t.same(await metadata.list('meta-data/macs/', context()), ['02:00:00:00:00:01', '02:00:00:00:00:02']);
    t.equal(await metadata.get('meta-data/nothing', context()), undefined);
    t.same(await metadata.list('meta-data/nothing', context()), []);
    t.equal(calls.filter((call) => call.startsWith('PUT')).length, 1);
  });
}

t.test('requests at once share a token', async (t) => {
  const { endpoint, calls } = await service(t, 'aws');
  const metadata = new Metadata({ cloud: 'aws', endpoint });
  const one = () => metadata.get('meta-data/instance-id', context());
  t.same(await Promise.all([one(), one(), one()]), ['i-0123', 'i-0123', 'i-0123']);
  t.equal(calls.filter((call) => call.startsWith('PUT')).length, 1);
});

t.test('a token that is refused is fetched anew, once', async (t) => {
  const { endpoint, calls, revoked } = await service(t, 'aws');
  const metadata = new Metadata({ cloud: 'aws', endpoint });
  await metadata.get('meta-data/instance-id', context());
  revoked.add('t1');
  t.equal(await metadata.get('meta-data/instance-id', context()), 'i-0123');
  for (const token of ['t2', 't3']) revoked.add(token);
  const before = calls.length;
  t.match(await failure(metadata.get('meta-data/instance-id', context())), {
    code: 'PROVIDER_UNREACHABLE',
    message: /401/,
  });
  t.equal(calls.length - before, 3, 'a request, a token, a request');
});

t.test(
  'what every instance must have and this one has not is named, and what kind of machine it should be',
  async (t) => {
    const machines = { aws: /EC2 instance/, aliyun: /ECS instance/ };
    for (const cloud of ['aws', 'aliyun'] as const) {
      const { endpoint } = await service(t, cloud, ({ url }, response) => {
        if (url !== '/latest/meta-data/empty') return false;
        response.end('\n');
        return true;
      });
      const metadata = new Metadata({ cloud, endpoint });
      t.equal(await metadata.must('meta-data/instance-id', context()), 'i-0123');
      for (const path of ['meta-data/region', 'meta-data/empty']) {
        const error = await failure(metadata.must(path, context()));
        t.match(error, { code: 'PROVIDER_UNREACHABLE', context: { provider: cloud }, message: machines[cloud] });
        t.match(error.message, `${endpoint}: it has no ${path}`);
      }
    }
  },
);

t.test('a service that is off is named as such', async (t) => {
  const { endpoint } = await service(t, 'aws', (_, response) => {
    response.writeHead(403).end();
    return true;
  });
  const error = await failure(new Metadata({ cloud: 'aws', endpoint }).get('meta-data/instance-id', context()));
  t.match(error, { code: 'PROVIDER_UNREACHABLE', message: /turned off for this instance \(403\)/ });
  t.match(error.message, endpoint);
});

t.test('where nobody answers, one knows within the time limit, and why it may be', async (t) => {
  const server = createTcpServer(() => undefined);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  const endpoint = `http://127.0.0.1:${address.port}`;
  const started = Date.now();
  const metadata = new Metadata({ cloud: 'aws', endpoint, timeoutMs: 100 });
  const error = await failure(metadata.get('meta-data/instance-id', context()));
  t.match(error, { code: 'PROVIDER_UNREACHABLE', message: /no answer within 0\.1 s; its hop limit/ });
  t.ok(Date.now() - started < 1_000);
});

t.test('a request ends with the context that it is made for', async (t) => {
  const { endpoint } = await service(t, 'aws', () => true);
  const metadata = new Metadata({ cloud: 'aws', endpoint });
  const started = Date.now();
  const error = await failure(metadata.get('meta-data/instance-id', context(80)));
  t.ok(['DEADLINE', 'PROVIDER_UNREACHABLE'].includes(error.code), error.code);
  t.ok(Date.now() - started < 1_000);
});

t.test('no connection is a reason, not a crash', async (t) => {
  const metadata = new Metadata({ cloud: 'aliyun', endpoint: 'http://127.0.0.1:9' });
  t.match(await failure(metadata.get('meta-data/instance-id', context())), {
    code: 'PROVIDER_UNREACHABLE',
    context: { provider: 'aliyun' },
    message: /ECONNREFUSED/,
  });
});

t.test('an answer without end is cut off', async (t) => {
  const { endpoint } = await service(t, 'aws', (request, response) => {
    if (request.method === 'PUT') return false;
    response.end('x'.repeat(1024 * 1024));
    return true;
  });
  t.match(await failure(new Metadata({ cloud: 'aws', endpoint }).get('user-data', context())), {
    code: 'PROVIDER_UNREACHABLE',
    message: /too long/,
  });
});
