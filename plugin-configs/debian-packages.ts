/**
 * Fetches Debian packages with the machine's own apt configuration and unpacks them into a folder, leaving the machine
 * as it is. Works on Debian and Ubuntu, as any user.
 */
import { execFile } from 'node:child_process';
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { codeOf } from '../shared/error-code.ts';

const run = promisify(execFile);

const APT_DEADLINE_MS = 180_000;

/** A package that was unpacked. */
export interface DebianPackage {
  readonly name: string;
  readonly version: string;
}

/**
 * Unpacks `roots` and everything they depend on, but for packages whose name fits `without`, below `folder`, in the
 * versions that apt would install now. Answers the packages, sorted by name. Fails with a sentence when apt cannot reach or does not know them.
 */
export async function unpackDebianPackages(
  roots: readonly string[],
  folder: string,
  without?: RegExp,
): Promise<DebianPackage[]> {
  const debs = join(folder, '.debs');
  const lists = join(folder, '.apt');
  await mkdir(debs, { recursive: true });
  try {
    await download(roots, debs, [], without);
  } catch {
    // No package lists (a fresh image), or ones so old that the mirror has moved on: fetch our own, in our folder.
    const own = await refreshLists(lists);
    await download(roots, debs, own, without);
  }
  const files = (await readdir(debs)).filter((name) => name.endsWith('.deb')).sort();
  const packages: DebianPackage[] = [];
  for (const file of files) {
    await run('dpkg-deb', ['-x', join(debs, file), folder], { timeout: APT_DEADLINE_MS });
    packages.push(await describe(join(debs, file)));
  }
  return packages;
}

async function describe(file: string): Promise<DebianPackage> {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-deb fills these in
  const { stdout } = await run('dpkg-deb', ['-W', '--showformat=${Package} ${Version}', file]);
  const [name = '', version = ''] = stdout.trim().split(' ');
  return { name, version };
}

async function download(
  roots: readonly string[],
  debs: string,
  options: readonly string[],
  without: RegExp | undefined,
): Promise<void> {
  const names = (await dependencies(roots, options)).filter((name) => without?.test(name) !== true);
  await apt('apt-get', ['-q', '-o', 'APT::Sandbox::User=root', ...options, 'download', ...names], debs);
}

/** The roots and, recursively, what they (pre-)depend on. apt prints each package at the line's beginning. */
async function dependencies(roots: readonly string[], options: readonly string[]): Promise<string[]> {
  const without = ['recommends', 'suggests', 'conflicts', 'breaks', 'replaces', 'enhances'].map(
    (kind) => `--no-${kind}`,
  );
  const output = await apt('apt-cache', [...options, 'depends', '--recurse', ...without, ...roots], '/');
  const names = new Set(output.split('\n').filter((line) => /^[a-z0-9][a-z0-9.+-]*$/.test(line)));
  const unknown = roots.filter((root) => !names.has(root));
  if (unknown.length > 0) throw new Error(`apt knows no package ${unknown.join(', ')}.`);
  return [...names].sort();
}

async function refreshLists(folder: string): Promise<string[]> {
  const options = ['-o', `Dir::State::lists=${folder}/lists`, '-o', `Dir::Cache=${folder}/cache`];
  await mkdir(join(folder, 'lists', 'partial'), { recursive: true });
  await mkdir(join(folder, 'cache', 'archives', 'partial'), { recursive: true });
  await apt('apt-get', ['-q', '-o', 'APT::Sandbox::User=root', ...options, 'update'], '/');
  return options;
}

async function apt(program: string, args: readonly string[], cwd: string): Promise<string> {
  try {
    const env = { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' };
    const { stdout } = await run(program, args, { cwd, env, timeout: APT_DEADLINE_MS, maxBuffer: 64 << 20 });
    return stdout;
  } catch (cause) {
    throw new Error(aptTrouble(program, args, cause), { cause });
  }
}

function aptTrouble(program: string, args: readonly string[], cause: unknown): string {
  if (codeOf(cause) === 'ENOENT') {
    return `${program} is missing: build the plugin on Debian or Ubuntu, or in a container of one of them.`;
  }
  const stderr = cause instanceof Error && 'stderr' in cause ? String(cause.stderr) : String(cause);
  const reason = stderr.split('\n').find((line) => line.startsWith('E: ')) ?? stderr.trim();
  return `${program} ${args.find((arg) => !arg.startsWith('-') && !arg.includes('=')) ?? ''} failed: ${reason}`;
}
