import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';

/** A test file and how it wants to be run. */
export interface TestFile {
  /** Relative to the repository. */
  readonly path: string;
  /** `alone`: it has the machine to itself; `rig`: it starts engines, and runs beside a few others of its kind. */
  readonly kind: 'quick' | 'rig' | 'alone';
  /** Milliseconds until the file is stopped. */
  readonly timeout: number;
  /** It starts virtual machines, which are slow where they are emulated: three files of them at once are more than two processors can. */
  readonly machines: boolean;
}

const defaultTimeout = 5 * 60_000;
const rigFolders = /^test\/(integration|chaos)\//;

/**
 * Finds `*.test.ts` under `test/`, in order of path.
 * @param wanted paths, folders or parts of paths; none means all.
 */
export function findTestFiles(root: string, wanted: readonly string[]): TestFile[] {
  return readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' })
    .map((name) => join('test', name))
    .filter((path) => path.endsWith('.test.ts') && !path.includes('node_modules'))
    .filter((path) => wanted.length === 0 || wanted.some((part) => path.includes(relativeTo(root, part))))
    .sort()
    .map((path) => {
      const header = readHeader(readFileSync(join(root, path), 'utf8'));
      const kind = header.exclusive ? 'alone' : rigFolders.test(path) ? 'rig' : 'quick';
      return { path, kind, timeout: header.timeout, machines: header.machines };
    });
}

function relativeTo(root: string, part: string): string {
  return part.startsWith('/') ? relative(root, part) : part.replace(/^\.\//, '');
}

/** Reads `// @timeout 15m`, `// @exclusive` and `// @machines` in the first 20 lines of a test file. */
export function readHeader(source: string): Pick<TestFile, 'timeout' | 'machines'> & { readonly exclusive: boolean } {
  const head = source.split('\n', 20).join('\n');
  const found = /^\/\/ @timeout (\d+)(s|m)$/m.exec(head);
  if (/@timeout/.test(head) && found === null)
    throw new Error('write the header as `// @timeout 15m` or `// @timeout 90s`');
  const timeout = found === null ? defaultTimeout : Number(found[1]) * (found[2] === 'm' ? 60_000 : 1000);
  return { timeout, exclusive: /^\/\/ @exclusive$/m.test(head), machines: /^\/\/ @machines$/m.test(head) };
}
