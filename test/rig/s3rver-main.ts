/**
 * Runs s3rver in a process of its own: `node s3rver-main.ts '{"port": 0, …}'` with its options as JSON; says its port in a line,
 * and ends when standard input does. s3rver makes its continuation tokens by a cipher that OpenSSL has no more: another one takes
 * its place here.
 */
import type nodeCrypto from 'node:crypto';
import { createRequire } from 'node:module';

interface S3rver {
  run(): Promise<{ readonly port: number }>;
}

const require = createRequire(import.meta.url);
const crypto: typeof nodeCrypto = require('node:crypto');
const { createCipheriv, createDecipheriv } = crypto;
const long = (short: Buffer): Buffer => Buffer.alloc(16, short);
Object.assign(crypto, {
  createCipheriv: (_: string, key: Buffer, iv: Buffer) => createCipheriv('aes-128-cbc', long(key), long(iv)),
  createDecipheriv: (_: string, key: Buffer, iv: Buffer) => createDecipheriv('aes-128-cbc', long(key), long(iv)),
});
const Server: new (options: object) => S3rver = require('s3rver');
const { port } = await new Server(JSON.parse(process.argv[2] ?? '{}')).run();
process.stdout.write(`${port}\n`);
process.stdin.resume().once('end', () => process.exit(0));
