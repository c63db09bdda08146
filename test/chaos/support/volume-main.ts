// What the chaos tests put into the image in the place of volume-plugin/main.ts: the same plugin, with a store that can
// end it at any update, with times that the test can change, with slow disks and with another boot id where it asks for
// them.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LoopProvider } from '../../../volume-plugin/block/loop.ts';
import { WINDOWS } from '../../../volume-plugin/parts.ts';
import { runProgram } from '../../../volume-plugin/program.ts';
import { watchedStore, windowsOf } from './kill-point.ts';
import { BOOT_FILE, SLOW_FILE } from './volume-files.ts';

const textOf = (file: string): string | undefined => (existsSync(file) ? readFileSync(file, 'utf8') : undefined);

void runProgram({
  env: { ...process.env, LOG_LEVEL: 'debug' },
  hooks: (folder) => {
    const { attach } = LoopProvider.prototype;
    LoopProvider.prototype.attach = async function (id, c) {
      await sleep(Number(textOf(join(folder, SLOW_FILE)) ?? 0));
      await attach.call(this, id, c);
    };
    const boot = textOf(join(folder, BOOT_FILE));
    return {
      watchStore: (store) => watchedStore(folder, store),
      windows: windowsOf(folder, WINDOWS),
      ...(boot !== undefined && { boot }),
    };
  },
});
