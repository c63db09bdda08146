import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { copySlim, copyStripped, elfNeeds } from '../../../plugin-configs/elf.ts';

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

t.test('a slim program is smaller still, runs, loads libraries and ends as it should', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'drayage-elf-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const [stripped, slim] = [join(folder, 'stripped'), join(folder, 'slim')];
  await copyStripped(node, stripped, 0o755);
  await copySlim(node, slim, 0o755);
  const saved = (await stat(stripped)).size - (await stat(slim)).size;
  t.ok(saved > 4e6, `${saved} bytes less`);
  t.same(elfNeeds(await readFile(slim), slim), elfNeeds(await readFile(node), node));
  const script = `
    const { Worker } = require('node:worker_threads');
    const koffi = require('koffi');
    const deep = () => deep();
    try { deep(); } catch (error) { console.log(error.name); }
    console.log(koffi.load('libc.so.6').func('int getpid()')() === process.pid);
    console.log(new Intl.DateTimeFormat('de').format(0), require('node:crypto').createHash('sha256').digest('hex').length);
    new Worker("throw new Error('in a worker')", { eval: true }).on('error', ({ message }) => console.log(message));
  `;
  const outcome = spawnSync(slim, ['-e', script], { encoding: 'utf8', cwd: import.meta.dirname });
  t.equal(outcome.stdout, 'RangeError\ntrue\n1.1.1970 64\nin a worker\n', outcome.stderr);
  const limit = ['-c', 'ulimit -c 0; exec "$@"', 'sh', slim];
  t.equal(spawnSync('sh', [...limit, '-e', 'process.abort()']).signal, 'SIGABRT');
  const hungry = ['--max-old-space-size=16', '-e', 'const all = []; for (;;) all.push(new Array(1000).fill({}))'];
  const starved = spawnSync('sh', [...limit, ...hungry], { encoding: 'utf8' });
  t.match(starved.stderr, /heap out of memory/);
  t.not(starved.status, 0);
});

t.test('refuses what is no ELF file, by name', async (t) => {
  t.throws(() => elfNeeds(Buffer.from('#!/bin/sh\n'), 'script'), /script is no 64-bit little-endian ELF file/);
});
