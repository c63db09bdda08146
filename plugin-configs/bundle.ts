/** CommonJS files from a plugin's sources: they start in less time and memory than modules that Node strips types of. */
import { readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { type BuildOptions, build, type Plugin, stop, transform } from 'esbuild';

const root = join(import.meta.dirname, '..');

/**
 * What express brings along for what we do ourselves: reading bodies (with East Asian character sets), files, query
 * strings with objects in them; and a table of file types. A quarter of the code, and 0.9 MB of memory at rest.
 */
const withoutUnused: Plugin = {
  name: 'without-unused',
  setup: ({ onResolve, onLoad }) => {
    onResolve({ filter: /^(body-parser|qs|send|serve-static)$/ }, ({ path, importer }) =>
      /\/node_modules\/express\//.test(importer) ? { path, namespace: 'unused' } : undefined,
    );
    onLoad({ filter: /./, namespace: 'unused' }, () => ({ contents: 'module.exports = {}', loader: 'js' }));
    onLoad({ filter: /\/mime-db\/db\.json$/ }, () => ({ contents: '{}', loader: 'json' }));
  },
};

/**
 * AWS's client describes all of EC2 in one file. Its keys are written `[_vI]:` with constants elsewhere in the file, which
 * the bundler takes for something that may have effects, and so keeps all of it: 0.8 MB, and 27 MB of memory.
 */
const withPlainKeys: Plugin = {
  name: 'with-plain-keys',
  setup: ({ onLoad }) => {
    onLoad({ filter: /\/@aws-sdk\/client-[\w-]+\/dist-es\/schemas\/schemas_0\.js$/ }, async ({ path }) => {
      const text = await readFile(path, 'utf8');
      const constants = new Map(
        [...text.matchAll(/^const (_\w+) = ("[^"]*");$/gm)].map(([, name, value]) => [name, value]),
      );
      const contents = text.replace(
        /\[(_\w+)\]:/g,
        (key, name: string) => `${constants.get(name) ?? key.slice(0, -1)}:`,
      );
      return { contents, loader: 'js' };
    });
  },
};

const common = {
  platform: 'node',
  target: 'node24',
  minifyWhitespace: true,
  minifySyntax: true,
  legalComments: 'none',
  logLevel: 'error',
} as const satisfies BuildOptions;

/** A file of a bundle. */
export interface BundleFile {
  readonly name: string;
  /** The sources in it, below the project's root. */
  readonly sources: readonly string[];
  /** Files that are loaded together with it. */
  readonly needs: readonly string[];
  /** Files that are loaded when the code comes to an `import('…')`. */
  readonly later: readonly string[];
}

/** Bundles that are being made. */
let making = 0;

/**
 * Bundles `entry` to `main.cjs` in `folder`. What is imported by `import('…')` becomes files of its own beside it, and
 * what several files use becomes one that they share, so that there is one of each class. A file's source map goes to
 * `<file>.map`. Names are kept, so that stack traces in a log can be read without it. koffi stays outside: it looks for
 * its native library beside itself. `helpers` are programs that are started as processes of their own, by their names: `b`
 * becomes `b.cjs`. Answers what is in the files.
 */
export async function bundle(
  entry: string,
  folder: string,
  helpers: Readonly<Record<string, string>> = {},
): Promise<BundleFile[]> {
  making += 1;
  try {
    return await makeBundle(entry, folder, helpers);
  } finally {
    making -= 1;
    // The bundler's service is another process, which would outlive this one for a moment: it ends with the last bundle.
    if (making === 0) await stop();
  }
}

async function makeBundle(
  entry: string,
  folder: string,
  helpers: Readonly<Record<string, string>>,
): Promise<BundleFile[]> {
  const { outputFiles, metafile } = await build({
    ...common,
    absWorkingDir: root,
    entryPoints: { main: entry, ...helpers },
    outdir: folder,
    outExtension: { '.js': '.cjs' },
    bundle: true,
    // Only modules can be split; they are made CommonJS below.
    format: 'esm',
    splitting: true,
    mainFields: ['module', 'main'],
    external: ['koffi'],
    plugins: [withoutUnused, withPlainKeys],
    sourcemap: 'inline',
    metafile: true,
    write: false,
    define: {
      'process.env.NODE_ENV': '"production"',
      // CommonJS has no import.meta; the only module that asks whether it is the program is the entry.
      'import.meta.main': 'true',
      'import.meta.dirname': '__dirname',
    },
  });
  await Promise.all(outputFiles.map(({ path, text }) => writeCommonJs(join(folder, basename(path)), text)));
  return Object.entries(metafile.outputs).map(([path, { inputs, imports }]) => {
    const files = (kind: string): string[] =>
      imports.filter((one) => one.kind === kind && one.external !== true).map((one) => basename(one.path));
    return {
      name: basename(path),
      sources: Object.keys(inputs),
      needs: files('import-statement'),
      later: files('dynamic-import'),
    };
  });
}

async function writeCommonJs(file: string, module: string): Promise<void> {
  const { code, map } = await transform(module, {
    ...common,
    sourcefile: basename(file),
    format: 'cjs',
    // A `require` at that moment: `import()` would start Node's loader of modules as well.
    supported: { 'dynamic-import': false },
    sourcemap: 'external',
  });
  await writeFile(file, code);
  await writeFile(`${file}.map`, map);
}
