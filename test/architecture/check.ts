import { basename, dirname, join } from 'node:path';
import { composer, fileLength, fileName, implementations, ranks, reserved } from './rules.ts';

/** Paths relative to the repository, with their text. */
export type Sources = ReadonlyMap<string, string>;

interface Import {
  readonly target: string;
  readonly typeOnly: boolean;
}

/** Everything that breaks a rule, as `file: sentence`. */
export function findViolations(sources: Sources): string[] {
  return [...sources]
    .flatMap(([file, text]) => {
      const code = withoutComments(text);
      const found = [
        ...nameAndLength(file, text),
        ...reservedUses(file, code),
        ...importsOf(file, code).flatMap((one) => wrongImport(file, one, sources)),
      ];
      return found.map((sentence) => `${file}: ${sentence}`);
    })
    .concat(findCycles(sources));
}

/** Files longer than is comfortable, for the eye only. */
export function longFiles(sources: Sources): string[] {
  return [...sources]
    .map(([file, text]) => ({ file, lines: text.split('\n').length - 1 }))
    .filter(({ lines }) => lines > fileLength.listed)
    .sort((a, b) => b.lines - a.lines)
    .map(({ file, lines }) => `${lines} ${file}`);
}

function nameAndLength(file: string, text: string): string[] {
  const found: string[] = [];
  const lines = text.split('\n').length - 1;
  if (!fileName.test(basename(file))) found.push('its name is not in kebab-case');
  if (lines > fileLength.refused) found.push(`it has ${lines} lines; split it (at most ${fileLength.refused})`);
  return found;
}

function reservedUses(file: string, code: string): string[] {
  return reserved
    .filter(({ pattern, allowed }) => pattern.test(code) && !allowed.test(file))
    .map(({ what }) => `it may not use ${what}`);
}

function wrongImport(file: string, { target, typeOnly }: Import, sources: Sources): string[] {
  if (!sources.has(target)) return [`it imports ${target}, which is not there`];
  if (file.startsWith('test/')) return [];
  const found: string[] = [];
  const [room, otherRoom] = [topFolder(file), topFolder(target)];
  if (otherRoom === 'test') found.push(`it imports a test's file, ${target}`);
  if (room === 'shared' && otherRoom !== 'shared') found.push(`shared code imports ${target}`);
  if (room.endsWith('-plugin') && otherRoom.endsWith('-plugin') && room !== otherRoom) {
    found.push(`one plugin imports another's ${target}`);
  }
  const [own, other] = [rankOf(file), rankOf(target)];
  const sameFolder = dirname(file) === dirname(target);
  if (other > own && !sameFolder) found.push(`it imports upward: ${target}`);
  if (other > own && sameFolder) found.push(`it imports ${target}, which stands above it`);
  if (other === own && !sameFolder && !typeOnly && room.endsWith('-plugin')) {
    found.push(`it imports values from its neighbour ${target}; only types may cross`);
  }
  if (isImplementation(target) && !mayChoose(file, target)) {
    found.push(`it names the implementation ${target}; only main.ts, plugin.ts and registry.ts may`);
  }
  return found;
}

function isImplementation(file: string): boolean {
  return implementations.some((pattern) => pattern.test(file));
}

function mayChoose(file: string, target: string): boolean {
  if (composer.test(file)) return true;
  const family = (path: string): string => `${dirname(path)}/${basename(path, '.ts').split('-')[0]}`;
  return family(file) === family(target);
}

function topFolder(file: string): string {
  return file.split('/')[0] ?? '';
}

/** @throws Error for a folder that the rules do not know: it needs a rank first. */
function rankOf(file: string): number {
  const prefix = Object.keys(ranks)
    .filter((known) => file.startsWith(known))
    .sort((a, b) => b.length - a.length)[0];
  const rank = prefix === undefined ? undefined : ranks[prefix];
  if (rank === undefined) throw new Error(`${file} has no rank in test/architecture/rules.ts`);
  return rank;
}

/** The relative imports of a file, resolved. `import type`, and braces with nothing but types, count as type-only. */
function importsOf(file: string, code: string): Import[] {
  const statements = code.matchAll(/\b(?:import|export)\b([^'";]*?)\bfrom\s+'(\.[^']+)'/g);
  const sideEffects = code.matchAll(/\bimport\s*\(?\s*'(\.[^']+)'/g);
  const resolve = (specifier: string): string => join(dirname(file), specifier);
  return [
    ...[...statements].map(([, clause = '', specifier = '']) => ({
      target: resolve(specifier),
      typeOnly: isTypeOnly(clause.trim()),
    })),
    ...[...sideEffects].map(([, specifier = '']) => ({ target: resolve(specifier), typeOnly: false })),
  ];
}

function isTypeOnly(clause: string): boolean {
  if (clause.startsWith('type ')) return true;
  const names = /^\{([^}]*)\}$/.exec(clause)?.[1];
  return names?.split(',').every((name) => name.trim() === '' || name.trim().startsWith('type ')) ?? false;
}

/** Cycles of imports at run time (types are erased, so they cannot make one), each once. */
function findCycles(sources: Sources): string[] {
  const state = new Map<string, 'open' | 'done'>();
  const cycles: string[] = [];
  const visit = (file: string, trail: readonly string[]): void => {
    if (state.get(file) === 'done') return;
    if (state.get(file) === 'open') {
      cycles.push(`import cycle: ${[...trail.slice(trail.indexOf(file)), file].join(' → ')}`);
      return;
    }
    state.set(file, 'open');
    for (const { target, typeOnly } of importsOf(file, withoutComments(sources.get(file) ?? ''))) {
      if (!typeOnly && sources.has(target)) visit(target, [...trail, file]);
    }
    state.set(file, 'done');
  };
  for (const file of sources.keys()) visit(file, []);
  return cycles;
}

/** Blanks comments, keeping the lines. Strings stay: imports and the reserved uses are in them. */
function withoutComments(text: string): string {
  return text.replace(
    /('(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`)|\/\*[\s\S]*?\*\/|\/\/[^\n]*/g,
    (whole, string: string | undefined) => string ?? whole.replace(/[^\n]/g, ' '),
  );
}
