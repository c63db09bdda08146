// The `drayage` command: asks the network plugin of this host over its admin socket and prints the answer.
import { fileURLToPath } from 'node:url';
import { main } from './cli/main.ts';

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.exitCode = await main(process.argv.slice(2), process.env, {
    out: (text) => process.stdout.write(`${text}\n`),
    error: (text) => process.stderr.write(`${text}\n`),
  });
}
