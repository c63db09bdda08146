import type nodeCrypto from 'node:crypto';
import { createRequire } from 'node:module';

interface S3rver {
  run(): Promise<{ readonly port: number }>;
  close(): Promise<void>;
}

/**
 * s3rver, an S3 server that nobody here wrote. It makes its continuation tokens by a cipher that OpenSSL has no more: another
 * one takes its place, in all of the process, until `restore`.
 */
export const loadS3rver = (): { readonly Server: new (options: object) => S3rver; restore(): void } => {
  const require = createRequire(import.meta.url);
  const crypto: typeof nodeCrypto = require('node:crypto');
  const { createCipheriv, createDecipheriv } = crypto;
  const long = (short: Buffer): Buffer => Buffer.alloc(16, short);
  Object.assign(crypto, {
    createCipheriv: (_: string, key: Buffer, iv: Buffer) => createCipheriv('aes-128-cbc', long(key), long(iv)),
    createDecipheriv: (_: string, key: Buffer, iv: Buffer) => createDecipheriv('aes-128-cbc', long(key), long(iv)),
  });
  return { Server: require('s3rver'), restore: () => void Object.assign(crypto, { createCipheriv, createDecipheriv }) };
};
