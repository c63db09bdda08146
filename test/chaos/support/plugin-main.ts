// What the chaos tests put into the image in the place of network-plugin/main.ts: the same plugin, with a store that
// can end it at any update, and with waiting times that the test can shorten.
import { runProgram } from '../../../network-plugin/program.ts';
import { WINDOWS } from '../../../network-plugin/reconcile.ts';
import { watchedStore, windowsOf } from './kill-point.ts';

void runProgram({
  env: { ...process.env, LOG_LEVEL: 'debug' },
  hooks: (folder) => ({ watchStore: (store) => watchedStore(folder, store), windows: windowsOf(folder, WINDOWS) }),
});
