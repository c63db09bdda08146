import { spawn, spawnSync } from 'node:child_process';
import type nodeCrypto from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import t, { type Test } from 'tap';
import type { StoreDescription } from '../../../../volume-plugin/object/description.ts';
import { openStore } from '../../../../volume-plugin/object/registry.ts';
import { objectStoreConformance, type StoreWorld } from '../../../conformance/object-store.ts';
import { context } from '../../../conformance/object-store-tools.ts';
import { opened, simulated } from './s3-stores.ts';

const worldOf = (t: Test, description: StoreDescription, missing = 'missing'): StoreWorld => ({
  store: opened(t, description),
  other: opened(t, description),
  missing: opened(t, { ...description, bucket: missing }),
});

/** Serves on a port that is free, which it says; ends with this process, whose end of the pipe closes. */
const MOTO = `
import os, sys, threading
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server
server = make_server('127.0.0.1', 0, DomainDispatcherApplication(create_backend_app), threaded=True)
print(server.port, flush=True)
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
server.serve_forever()
`;

void t.test('against the simulated S3', (t) =>
  objectStoreConformance(t, async (t) => worldOf(t, (await simulated(t)).description)),
);

/** What this test uses of it. */
interface S3rver {
  run(): Promise<{ readonly port: number }>;
  close(): Promise<void>;
}

/** An S3 server that nobody here wrote, with the shortcomings that it has. */
const s3rver = async (t: Test): Promise<StoreWorld> => {
  const require = createRequire(import.meta.url);
  // It makes its continuation tokens by a cipher that OpenSSL has no more.
  const crypto: typeof nodeCrypto = require('node:crypto');
  const { createCipheriv, createDecipheriv } = crypto;
  const long = (short: Buffer): Buffer => Buffer.alloc(16, short);
  Object.assign(crypto, {
    createCipheriv: (_: string, key: Buffer, iv: Buffer) => createCipheriv('aes-128-cbc', long(key), long(iv)),
    createDecipheriv: (_: string, key: Buffer, iv: Buffer) => createDecipheriv('aes-128-cbc', long(key), long(iv)),
  });
  t.teardown(() => Object.assign(crypto, { createCipheriv, createDecipheriv }));
  const Server: new (options: object) => S3rver = require('s3rver');
  const directory = mkdtempSync(join(tmpdir(), 'drayage-s3rver-'));
  const server = new Server({
    address: '127.0.0.1',
    port: 0,
    silent: true,
    directory,
    configureBuckets: [{ name: 'bucket' }],
  });
  const { port } = await server.run();
  t.teardown(async () => {
    await server.close();
    rmSync(directory, { recursive: true, force: true });
  });
  const description: StoreDescription = {
    ...{ kind: 's3', bucket: 'bucket', endpoint: `http://127.0.0.1:${port}`, region: 'us-east-1', vendor: 'generic' },
    credentials: { accessKeyId: 'S3RVER', accessKeySecret: 'S3RVER' },
  };
  return {
    ...worldOf(t, description),
    isSlow: true,
    gaps: [
      'ranges',
      'whole',
      'slashes',
      'long-keys',
      'copy-keys',
      'unfinished',
      'abort',
      'part-checks',
      'copy-part',
      'byte-order',
      'source-conditions',
      'folders',
    ],
  };
};

void t.test('against s3rver', (t) => objectStoreConformance(t, s3rver));

/** Python's moto, where it is installed. */
const hasMoto = spawnSync('python3', ['-c', 'import moto.server']).status === 0;

void t.test('against moto', { skip: hasMoto ? false : 'moto is not installed' }, async (t) => {
  const server = spawn('python3', ['-c', MOTO], { stdio: ['pipe', 'pipe', 'ignore'] });
  t.teardown(() => server.kill('SIGKILL'));
  const [port] = await once(createInterface(server.stdout), 'line');
  let worlds = 0;
  await objectStoreConformance(t, async (t) => {
    worlds += 1;
    const description: StoreDescription = {
      ...{ kind: 's3', bucket: `bucket-${worlds}`, endpoint: `http://127.0.0.1:${port}`, region: 'us-east-1' },
      ...{ vendor: 'aws', addressing: 'path', credentials: { accessKeyId: 'MOTO', accessKeySecret: 'MOTO' } },
    };
    const store = openStore({ ...description, vendor: 'aws' });
    await store.createBucket(context());
    await store.close();
    return {
      ...worldOf(t, description, `missing-${worlds}`),
      isSlow: true,
      gaps: ['source-conditions', 'complete-match', 'begun', 'unknown-uploads'],
    };
  });
});
