import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { StoreDescription } from '../../../../volume-plugin/object/description.ts';
import { objectStoreConformance, type StoreWorld } from '../../../conformance/object-store.ts';
import { loadS3rver } from '../../../rig/s3rver.ts';
import { opened, simulated } from './s3-stores.ts';

t.setTimeout(120_000);

const worldOf = (t: Test, description: StoreDescription, missing = 'missing'): StoreWorld => ({
  store: opened(t, description),
  other: opened(t, description),
  missing: opened(t, { ...description, bucket: missing }),
});

void t.test('against the simulated S3', (t) =>
  objectStoreConformance(t, async (t) => worldOf(t, (await simulated(t)).description)),
);

/** An S3 server that nobody here wrote, with the shortcomings that it has. */
const s3rver = async (t: Test): Promise<StoreWorld> => {
  const { Server, restore } = loadS3rver();
  t.teardown(restore);
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
