/** One CommonJS file from a plugin's sources: it starts in less time and memory than modules that Node strips types of. */
import { join } from 'node:path';
import { type BuildOptions, build, type Plugin, stop } from 'esbuild';

const root = join(import.meta.dirname, '..');

/**
 * express brings tables of East Asian character sets (0.5 MB) and of file types (0.15 MB). The engine speaks UTF-8 and
 * JSON, which we decode and name ourselves.
 */
const withoutTables: Plugin = {
  name: 'without-tables',
  setup: ({ onLoad }) => {
    onLoad({ filter: /\/iconv-lite\/encodings\/tables\/[^/]+\.json$/ }, () => ({ contents: '[]', loader: 'json' }));
    onLoad({ filter: /\/mime-db\/db\.json$/ }, () => ({ contents: '{}', loader: 'json' }));
  },
};

/** Bundles that are being made. */
let making = 0;

/** The bundler's service is another process, which would outlive this one for a moment: it ends with the last bundle. */
async function buildAndStop(options: BuildOptions): Promise<void> {
  making += 1;
  try {
    await build(options);
  } finally {
    making -= 1;
    if (making === 0) await stop();
  }
}

/**
 * Bundles `entry` to `outfile`; its source map goes to `<outfile>.map`. Names are kept, so that stack traces in a log
 * can be read without the map. koffi stays outside: it looks for its native library beside itself.
 */
export async function bundle(entry: string, outfile: string): Promise<void> {
  await buildAndStop({
    entryPoints: [entry],
    outfile,
    absWorkingDir: root,
    bundle: true,
    platform: 'node',
    target: 'node24',
    format: 'cjs',
    mainFields: ['module', 'main'],
    external: ['koffi'],
    plugins: [withoutTables],
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: 'none',
    sourcemap: 'external',
    define: {
      'process.env.NODE_ENV': '"production"',
      // CommonJS has no import.meta; the only module that asks whether it is the program is the entry.
      'import.meta.main': 'true',
      'import.meta.dirname': '__dirname',
    },
    logLevel: 'error',
  });
}
