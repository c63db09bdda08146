// `npm run docs`: writes the parts of the documentation that follow from the code. test/docs.test.ts fails when they are old.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { IPAM_OPTIONS, NETWORK_OPTIONS, SETTINGS } from '../network-plugin/options.ts';
import { ERRORS } from '../shared/errors.ts';
import { markdownTable } from '../shared/options.ts';
import { OPTIONS as VOLUME_OPTIONS } from '../volume-plugin/backends/registry.ts';
import { SETTINGS as VOLUME_SETTINGS } from '../volume-plugin/options.ts';

/** Tables by the name in their markers, `<!-- NAME: begin … -->` and `<!-- NAME: end -->`. */
const tables: Readonly<Record<string, () => string>> = {
  'network options': () => markdownTable(NETWORK_OPTIONS),
  'IPAM options': () => markdownTable(IPAM_OPTIONS),
  settings: () => markdownTable(SETTINGS, 'setting'),
  'volume options': () => markdownTable(VOLUME_OPTIONS.block),
  'nfs options': () => markdownTable(VOLUME_OPTIONS.nfs),
  'object options': () => markdownTable(VOLUME_OPTIONS.object),
  'volume settings': () => markdownTable(VOLUME_SETTINGS, 'setting'),
};

const retry = {
  never: 'no: asking again changes nothing',
  backoff: 'yes, by itself or by repeating the command',
  after: 'once the fix is done',
} as const;

/** The text of docs/errors.md. */
export function errorsDocument(): string {
  const entries = Object.entries(ERRORS)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(
      ([code, { text, fix, retry: when }]) =>
        `## ${code}\n\n${plain(text)}\n\n- Fix: ${plain(fix)}\n- Worth another try: ${retry[when]}.\n`,
    );
  return `# Errors

<!-- Generated from shared/errors.ts by \`npm run docs\`; do not edit. -->

What \`docker\` prints when Drayage refuses something: a code, one sentence about what happened, one about what to do, and
the id of the request, under which the plugin's log (in the Docker daemon's log) tells more. Words in *italics* stand for
names and values; what stands in brackets is left out when there is nothing to say.

${entries.join('\n')}`;
}

/** `{name}` → *name*, for a template of an error. */
function plain(template: string): string {
  return template.replace(/\{(\w+)\}/g, '*$1*').replace(/</g, '\\<');
}

/**
 * Puts the generated tables between their markers.
 * @throws Error when a marker names no table, or its end is missing.
 */
export function withTables(text: string): string {
  return text.replace(
    /(<!-- ([\w ]+): begin[^>]*-->\n)([\s\S]*?)(<!-- ([\w ]+): end -->)/g,
    (_, begin: string, name: string, __, end: string, endName: string) => {
      const table = tables[name];
      if (table === undefined || endName !== name) throw new Error(`the markers of "${name}" are wrong`);
      return `${begin}${table()}\n${end}`;
    },
  );
}

/** Generated documents: path → what it should hold. */
export function documents(root: string): ReadonlyMap<string, string> {
  return new Map([
    ['docs/errors.md', errorsDocument()],
    ...['README.md', 'volume-plugin/README.md'].map((path): [string, string] => [
      path,
      withTables(readFileSync(join(root, path), 'utf8')),
    ]),
  ]);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const root = join(import.meta.dirname, '..');
  for (const [path, text] of documents(root)) writeFileSync(join(root, path), text);
}
