import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { copyStripped, elfNeeds } from '../../../plugin-configs/elf.ts';

const node = process.execPath;

t.test('names the loader and the libraries of a program', async (t) => {
  const { interpreter, needed } = elfNeeds(await readFile(node), node);
  t.match(interpreter, /^\/lib.*\/ld-linux-/);
  t.ok(needed.includes('libc.so.6'), 'needs the C library');
  t.ok(needed.includes('libstdc++.so.6'), 'needs the C++ library');
});

t.test('a stripped program is smaller, needs the same libraries and runs', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'drayage-elf-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const stripped = join(folder, 'node');
  await copyStripped(node, stripped, 0o755);
  t.ok((await stat(stripped)).size < (await stat(node)).size * 0.9, 'the symbol table is gone');
  t.same(elfNeeds(await readFile(stripped), stripped), elfNeeds(await readFile(node), node));
  t.equal(execFileSync(stripped, ['-p', '6 * 7'], { encoding: 'utf8' }), '42\n');
});

t.test('refuses what is no ELF file, by name', async (t) => {
  t.throws(() => elfNeeds(Buffer.from('#!/bin/sh\n'), 'script'), /script is no 64-bit little-endian ELF file/);
});
