/** What the tests of the simulated S3 begin with: a bucket, and the official SDK's client. */
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3';
import { makeCertificates } from '../../rig/certificates.ts';
import type { Credential } from '../../sim/core/credentials.ts';
import type { ObjectSimConfig } from '../../sim/objects/simulator.ts';
import { type S3Sim, startS3Sim } from '../../sim/s3/sim.ts';
import { credentialsOf, type Test } from './aws-sdk.ts';

export const BUCKET = 'assets';

/** A client of the official SDK. One attempt, the bucket in the path, unless `more` says otherwise. */
export const client = (
  t: Test,
  sim: S3Sim,
  key: Credential = sim.key(),
  more: Partial<S3ClientConfig> = {},
): S3Client => {
  const made = new S3Client({
    region: sim.region,
    endpoint: sim.endpoint,
    forcePathStyle: true,
    credentials: credentialsOf(key),
    maxAttempts: 1,
    ...more,
  });
  t.teardown(() => made.destroy());
  return made;
};

/** A simulator with one empty bucket, and a client with a key that may do everything. */
export async function s3Site(t: Test, config: ObjectSimConfig = {}) {
  const sim = await startS3Sim({ buckets: [BUCKET], ...config });
  t.teardown(() => sim.close());
  return { sim, s3: client(t, sim) };
}

export interface Altered {
  headers: Record<string, string>;
  query: Record<string, unknown>;
  body?: unknown;
}

/** Changes the request after it was signed. */
export const alter = (s3: S3Client, change: (request: Altered) => void): S3Client => {
  s3.middlewareStack.add(
    (next) => async (given) => {
      change(given.request as Altered);
      return await next(given);
    },
    { step: 'deserialize', name: 'alter', priority: 'low' },
  );
  return s3;
};

/** A throw-away authority, and a certificate of it for 127.0.0.1. */
export async function certificates(t: Test) {
  const folder = await mkdtemp(path.join(tmpdir(), 'drayage-s3-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const files = await makeCertificates(folder, ['127.0.0.1']);
  const read = (file: string): string => readFileSync(file, 'utf8');
  return { ca: read(files.ca), caFile: files.ca, tls: { key: read(files.serverKey), cert: read(files.serverCert) } };
}
